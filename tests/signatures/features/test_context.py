"""What of a pair is there, and what is computed once for both directions."""

from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.errors import SignatureError
from simmerge_hub.signatures.features.context import Pair
from simmerge_hub.signatures.signing.signature import Signature
from tests.signatures.by_hand import TASK, signature, sketch

ATTENTION = np.full((1, 1, 2, 2), 0.5, np.float16)
PLAIN = sketch([[0.5, 0.5]] * 2, [[1, 0], [0, 1]])
SEEN = replace(PLAIN, attention=ATTENTION)


def pair(expert: object, auxiliary: object, base: object = None) -> Pair:
    """A pair of models with these sketches; `base` None is no base, "bare" one without a sketch."""

    def model(name: str, kept: object) -> Signature:
        return signature(name, [[1.0, 0.0]], None if kept == "bare" else kept)  # type: ignore[arg-type]

    origin = None if base is None else model("base", base)
    return Pair(
        expert=model("expert", expert), auxiliary=model("auxiliary", auxiliary),
        base=origin, task=TASK,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("models", "needs"),
    [
        ((SEEN, SEEN, SEEN), {"base", "behaviour", "attention"}),
        ((SEEN, SEEN), {"behaviour", "attention"}),
        ((SEEN, SEEN, PLAIN), {"base", "behaviour"}),
        ((PLAIN, PLAIN, PLAIN), {"base", "behaviour"}),
        (("bare", SEEN, SEEN), {"base"}),
        ((SEEN, SEEN, "bare"), {"base"}),
        ((SEEN, replace(SEEN, tokens="others"), SEEN), {"base"}),
        ((SEEN, SEEN, replace(SEEN, tokens="others")), {"base"}),
        (("bare", "bare"), set()),
    ],
)
def test_what_is_available(models: tuple[object, ...], needs: set[str]) -> None:
    assert pair(*models).available == needs


def test_other_probe_sets_are_refused() -> None:
    with pytest.raises(SignatureError, match="different probe sets"):
        _ = pair(SEEN, replace(SEEN, probes="others")).available


def test_sides() -> None:
    ordered = pair(SEEN, PLAIN)
    assert ordered.model("expert") is ordered.other("auxiliary") is ordered.expert
    assert ordered.model("auxiliary") is ordered.other("expert") is ordered.auxiliary


def test_what_is_symmetric_is_computed_once_for_both_orders() -> None:
    one = pair(SEEN, SEEN, SEEN)
    other = Pair(expert=one.auxiliary, auxiliary=one.expert, base=one.base, task=TASK)
    assert one.weights is other.weights
    assert one.common is other.common
