"""Merges read experts' answers only where both call the same tokens by the same ids."""

from pathlib import Path

import numpy as np
import pytest

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.signatures.probing.dosing.trial import (
    UNREAD,
    OwnAnswers,
    read_answers_of_experts,
)
from simmerge_hub.signatures.probing.probe import ProbeSet
from tests import nano
from tests.signatures.merged.test_kept import respond

PROBES = ProbeSet(task="chat", source="x", prompts=("w2 w3 w4", "w5 w6"), digest="d")
ADDED = nano.VOCABULARY
"""The id of a token that the expert has after those of its base."""


@pytest.mark.parametrize("last", [7, ADDED])
def test_an_answer_in_a_token_that_the_merge_lacks_is_not_read(tmp_path: Path, last: int) -> None:
    expert = nano.save(tmp_path / "expert", nano.weights(vocabulary=nano.VOCABULARY + 1))
    (expert / "tokenizer.json").write_text(nano.words(nano.VOCABULARY, "<|im_end|>"))
    merge = nano.model(tmp_path / "merge")
    own = OwnAnswers(
        expert=(resolve(str(expert)), None), probes=PROBES, response=respond([[3], [last]])
    )
    reading = read_answers_of_experts(resolve(str(merge)), {"chat": own})["chat"]
    if last == ADDED:
        assert reading is UNREAD
    else:
        assert reading.kept.shape == (2,)
        assert np.isfinite(reading.logliks).all()
