"""Features of behaviour on two prompts and two tokens, worked out by hand."""

from math import isnan, log, sqrt

import numpy as np
import pytest

from simmerge_hub.signatures.features.functional import _at
from simmerge_hub.signatures.features.vector import features
from tests.signatures.by_hand import TASK, signature, sketch

WEIGHT = [[1.0, 2.0]]
EXPERT = signature("expert", WEIGHT, sketch(
    [[0.5, 0.5], [0.25, 0.75]], [[1, 0], [3, 4]],
    loss=np.array([1, 2], np.float32), entropy=np.array([0.7, 0.5], np.float32),
))  # fmt: skip
AUXILIARY = signature("auxiliary", WEIGHT, sketch(
    [[0.5, 0.5], [0.75, 0.25]], [[0, 1], [3, 4]],
    loss=np.array([1, 4], np.float32), entropy=np.array([0.7, 0.1], np.float32),
))  # fmt: skip
BASE = signature("base", WEIGHT, sketch([[0.5, 0.5], [0.5, 0.5]], [[1, 0], [3, 4]]))
KL = log(3) / 2  # ¼ log(1/3) + ¾ log 3, at the second prompt; nothing at the first
JS = 0.25 * log(0.5) + 0.75 * log(1.5)
WANTED = {
    "kl_mean_expert": KL / 2,
    "kl_median_expert": KL / 2,
    "kl_q90_auxiliary": 0.9 * KL,
    "js_mean": JS / 2,
    "js_median": JS / 2,
    "js_q90": 0.9 * JS,
    "js_end": JS / 2,
    "agreement": 0.5,
    "agreement_end": 0.5,
    "hidden_cosine.all": 0.5,
    "loss_difference": 1.5 - 2.5,
    "entropy_difference": 0.6 - 0.4,
    "confidence_log_ratio": 0.0,
    "drift_kl_expert": (0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75)) / 2,
    "drift_kl_log_ratio": 0.0,
    "drift_agreement_end_expert": 0.5,
    "drift_agreement_end_auxiliary": 1.0,
    "drift_hidden_expert.all": 0.0,
    "drift_hidden_auxiliary.all": sqrt(2 / 26),
    "drift_loss_auxiliary": 2.5,
    "drift_entropy_expert": 0.6,
    # both moved the second prompt's log-probabilities by (log ½, log 1½), one of them swapped
    "drift_fisher_cosine": 2 * log(0.5) * log(1.5) / (log(0.5) ** 2 + log(1.5) ** 2),
}


@pytest.mark.parametrize("name", WANTED)
def test_by_hand(name: str) -> None:
    vector = features(EXPERT, AUXILIARY, BASE, TASK)
    assert vector[name] == pytest.approx(WANTED[name], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", ["hidden_cka.all", "attention_js", "drift_hidden_log_ratio"])
def test_what_is_not_defined_is_missing(name: str) -> None:
    """CKA of fewer than four prompts, attention nobody kept, the log of a drift of zero."""
    assert isnan(features(EXPERT, AUXILIARY, BASE, TASK)[name])


def test_thirds_of_the_depth() -> None:
    values, depths = np.array([1.0, 2.0, 4.0, 8.0]), [1 / 8, 3 / 8, 5 / 8, 7 / 8]
    assert [_at(depth, values, depths) for depth in ("all", "early", "middle", "late")] == [
        3.75, 1.0, 3.0, 8.0,
    ]  # fmt: skip
    assert isnan(_at("early", values[1:], depths[1:]))
    assert isnan(_at("early", np.empty(0), depths))
