"""What is kept of a pair is what was computed, for exactly this pair; anything else is computed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simmerge_hub.operators import arm
from simmerge_hub.signatures.features.vector import features
from simmerge_hub.signatures.measures import remembered
from simmerge_hub.signatures.measures.remembered import identify, remember
from simmerge_hub.signatures.merged import effects as merged
from tests.signatures.by_hand import signature

ONE, OTHER = signature("a", [[1, 2], [3, 4]]), signature("b", [[0, 2], [3, 5]])
VALUES = np.array([[1.5, np.nan], [-0.0, 3.0]])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(remembered, "_folder", lambda: tmp_path)
    return tmp_path


def ask(computed: list[str], *, of=(ONE, OTHER, None), details=("x",), what="test") -> np.ndarray:
    def compute() -> np.ndarray:
        computed.append(what)
        return VALUES

    return remember(what, of, details, VALUES.shape, compute)


def test_it_is_computed_once_and_the_same_to_the_bit() -> None:
    computed: list[str] = []
    answers = [ask(computed) for _ in range(3)]
    assert len(computed) == 1
    assert all(each.tobytes() == VALUES.tobytes() for each in answers)
    answers[0][0, 0] = 9  # nobody else sees what is done to an answer
    assert ask(computed)[0, 0] == 1.5


@pytest.mark.parametrize(
    "other",
    [
        {"of": (OTHER, ONE, None)},
        {"of": (ONE, OTHER, ONE)},
        {"of": (ONE, replace(OTHER, name="c"), None)},
        {"of": (ONE, signature("b", [[0, 2], [3, 5.5]]), None)},
        {"details": ("y",)},
        {"details": ("x", "")},
        {"what": "else"},
    ],
)
def test_another_question_is_another_answer(other: dict) -> None:
    computed: list[str] = []
    ask(computed)
    ask(computed, **other)
    assert len(computed) == 2


def test_other_code_is_another_question(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    ask(computed)
    monkeypatch.setattr(remembered, "digest_code", lambda *_: "another version")
    ask(computed)
    assert len(computed) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "more", "empty", "of another key"])
def test_what_is_damaged_is_computed_again(damage: str, folder: Path) -> None:
    computed: list[str] = []
    ask(computed)
    (path,) = folder.iterdir()
    data = bytearray(path.read_bytes())
    if damage == "of another key":
        ask(computed, details=("y",))
        (other,) = [each for each in folder.iterdir() if each != path]
        data = bytearray(other.read_bytes())
    elif damage == "flip":
        data[-1] ^= 1
    path.write_bytes({"cut": data[:-8], "more": data + b"x", "empty": b""}.get(damage, data))
    computed.clear()
    assert ask(computed).tobytes() == VALUES.tobytes()
    assert ask(computed).tobytes() == VALUES.tobytes()
    assert len(computed) == 1


def test_a_disk_that_cannot_be_written_costs_time_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "_folder", lambda: folder / "is not there")
    computed: list[str] = []
    assert [ask(computed).shape for _ in range(2)] == [VALUES.shape] * 2
    assert len(computed) == 2


def test_old_answers_are_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "KEPT", 16)
    monkeypatch.setattr(remembered, "TRIMMED_EVERY", 1)
    computed: list[str] = []
    for number in range(40):
        ask(computed, details=(str(number),))
        assert len(list(folder.iterdir())) <= 16
    ask(computed, details=("39",))
    assert len(computed) == 40


def test_identity_is_of_the_content() -> None:
    same = signature("a", [[1, 2], [3, 4]])
    assert identify(ONE) == identify(same)
    assert len({identify(each) for each in (ONE, OTHER, replace(ONE, digest="x"))}) == 3


def test_effects_and_features_from_the_disk_are_those_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = signature("base", [[0, 1], [1, 0]])
    arms = (arm("linear"), arm("ties", density=0.5))

    def seen() -> bytes:
        effects = merged.effects(ONE, OTHER, base, arms)
        return effects.tobytes() + features(ONE, OTHER, base, "code").values.tobytes()

    first = seen()
    monkeypatch.setattr(merged, "_compute", lambda *_: pytest.fail("it is known"))
    assert seen() == first
