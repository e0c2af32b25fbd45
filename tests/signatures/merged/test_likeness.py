"""How much a merge behaves like an expert."""

from dataclasses import replace
from typing import Any

import numpy as np

from simmerge_hub.signatures.merged.likeness import LIKENESS_NAMES, likeness

TASK = "strings"


def of(family: Any, one: str, other: str) -> dict[str, float]:
    sketches = [getattr(family, name).sketches[TASK] for name in (one, other)]
    return dict(zip(LIKENESS_NAMES, likeness(*sketches), strict=True))


def test_a_model_is_like_itself(family: Any) -> None:
    values = of(family, "expert", "expert")
    for name in ("js", "js_end", "kl", "kl_end", "loss", "entropy_end"):
        assert abs(values[f"likeness_{name}"]) < 1e-6
    for name in ("agreement", "agreement_end", "hidden", "hidden_last"):
        assert abs(values[f"likeness_{name}"] - 1) < 1e-5


def test_another_model_is_less_like_it(family: Any) -> None:
    values = of(family, "auxiliary", "expert")
    assert values["likeness_js"] > 0
    assert values["likeness_kl"] > values["likeness_js"]
    assert values["likeness_hidden"] < 1


def test_nothing_is_said_of_what_was_not_run_or_fed_other_tokens(family: Any) -> None:
    own = family.expert.sketches[TASK]
    assert np.isnan(likeness(None, own)).all()
    assert np.isnan(likeness(own, None)).all()
    assert np.isnan(likeness(replace(own, tokens="other"), own)).all()
