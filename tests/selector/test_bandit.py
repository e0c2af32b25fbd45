"""The bandit on a made-up zoo with a clear rule: it starts well, learns, forgets, and recovers."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simmerge_hub.errors import BanditError, PredictorError
from simmerge_hub.operators import arm
from simmerge_hub.selector import bandit as learning
from simmerge_hub.selector import posterior, representation, state
from simmerge_hub.selector.bandit import Bandit, Settings, choose, misled, retrain, start
from simmerge_hub.selector.history import History, Suggestion
from simmerge_hub.selector.rows import Rows, join
from tests.selector.conftest import ARMS, zoo

EMPTY = History(suggestions={}, gains={})


@pytest.fixture(scope="module", autouse=True)
def quick() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(representation, "STEPS", 80)
        yield


@pytest.fixture(scope="module")
def offline() -> Rows:
    return join(*zoo(models=14), ARMS)


@pytest.fixture(scope="module")
def stream() -> Rows:
    return join(*zoo(models=16, seed=5), ARMS)


@pytest.fixture(scope="module")
def bandit(offline: Rows) -> Bandit:
    return start(offline, networks=1)


def told(rows: Rows, picks: Callable[[int], str], expected: float = 0.5) -> History:
    """Every row as a suggestion that was reported."""
    labels = [a.label for a in rows.arms]
    suggestions, gains = {}, {}
    for i in range(len(rows)):
        name, label = f"s{i + 1:06d}", picks(i)
        suggestions[name] = Suggestion(
            id=name, arm=label, task="t", expert="e", auxiliary="a", chance={}, expected=expected,
            values=tuple(map(float, rows.values[i])),
        )  # fmt: skip
        gains[name] = float(rows.gains[i, labels.index(label)])
    return History(suggestions=suggestions, gains=gains)


def regret(bandit: Bandit, history: History, rows: Rows) -> float:
    greedy = replace(bandit, settings=replace(bandit.settings, explore=0.0))
    beliefs = greedy.beliefs(history)
    labels = [a.label for a in rows.arms]
    chosen = [labels.index(choose(greedy, beliefs, v, number=1).arm) for v in rows.values]
    return float((rows.gains.max(1) - rows.gains[np.arange(len(rows)), chosen]).mean())


def test_it_starts_better_than_the_best_fixed_arm(bandit: Bandit, stream: Rows) -> None:
    fixed = stream.gains.max(1).mean() - stream.gains.mean(0).max()
    assert regret(bandit, EMPTY, stream) < 0.5 * fixed


def test_chances_add_up_and_say_who_is_likely(bandit: Bandit, stream: Rows) -> None:
    found = choose(bandit, bandit.beliefs(EMPTY), stream.values[0], number=3)
    assert sum(found.chance.values()) == pytest.approx(1)
    assert found == choose(bandit, bandit.beliefs(EMPTY), stream.values[0], number=3)
    both = choose(bandit, bandit.beliefs(EMPTY), stream.values[:2], number=3)
    assert set(both.chance) == {a.label for a in ARMS}


def test_beliefs_do_not_depend_on_the_order_of_reports(bandit: Bandit, stream: Rows) -> None:
    history = told(stream, lambda i: ARMS[i % 4].label)
    mixed = list(history.gains.items())
    random.Random(1).shuffle(mixed)
    other = replace(history, gains=dict(mixed))
    for label, belief in bandit.beliefs(history).items():
        assert np.array_equal(belief.mean, bandit.beliefs(other)[label].mean)
        assert np.array_equal(belief.root, bandit.beliefs(other)[label].root)


def test_beliefs_are_those_of_one_update_after_another(bandit: Bandit, stream: Rows) -> None:
    history, keep = told(stream, lambda i: "linear"), 0.98
    fading = replace(bandit, settings=replace(bandit.settings, keep=keep))
    for used, share in ((bandit, 1.0), (fading, keep)):
        belief = used.starts[0]
        scale = used.settings.scale
        for suggestion, gain in history.learned:
            z = used.contexts(np.array([suggestion.values], float))[0]
            belief = posterior.update(
                posterior.faded(belief, used.starts[0], keep=share), z, gain / scale
            )
        found = used.beliefs(history)["linear"]
        assert np.allclose(found.mean, belief.mean, atol=1e-8)
        assert found.rate == pytest.approx(belief.rate)


def test_retraining_recomputes_the_past_and_leaves_the_state_alone(
    bandit: Bandit, stream: Rows
) -> None:
    history = told(stream, lambda i: ARMS[i % 4].label)
    made = retrain(bandit, history)
    assert not np.array_equal(made.contexts(stream.values), bandit.contexts(stream.values))
    assert len(made.gains) == len(bandit.gains)
    assert regret(made, history, stream) <= regret(bandit, EMPTY, stream) + 0.02
    assert retrain(bandit, EMPTY) is bandit


def test_a_wrong_warm_start_is_noticed_and_left_out(offline: Rows, stream: Rows) -> None:
    wrong = start(replace(offline, gains=offline.gains[:, ::-1] - 0.8), networks=1)
    history = told(stream, lambda i: ARMS[i % 4].label, expected=-0.5)
    assert misled(history)
    assert not misled(told(stream.take(np.arange(10)), lambda i: "linear", expected=-0.5))
    made = retrain(wrong, history)
    assert len(made.gains) == 0
    assert regret(made, history, stream) < regret(wrong, EMPTY, stream)


def test_an_added_arm_starts_like_its_kin(bandit: Bandit, stream: Rows) -> None:
    kin, stranger = arm("ties", density=0.7), arm("sce", density=0.5)
    history = replace(EMPTY, added=(kin, stranger))
    beliefs = bandit.beliefs(history)
    ties = bandit.labels.index("ties(density=0.2)")
    assert np.allclose(beliefs[kin.label].mean, bandit.starts[ties].mean)
    mean = np.mean([s.mean for s in bandit.starts], axis=0)
    assert np.allclose(beliefs[stranger.label].mean, mean)
    assert set(choose(bandit, beliefs, stream.values[0], number=1).chance) == set(beliefs)


def test_settings_and_rows_that_make_no_sense(offline: Rows) -> None:
    with pytest.raises(BanditError, match="make no sense"):
        Settings(keep=0.0)
    with pytest.raises(PredictorError, match="no model can be held out"):
        start(offline.take(np.arange(1)))
    assert learning.FOLDS > 1


def test_missing_features_count_as_the_median(bandit: Bandit, stream: Rows) -> None:
    values = stream.values[:3].copy()
    values[:, :] = np.nan
    assert np.isfinite(bandit.contexts(values)).all()


def saved(folder: Path, files: dict[str, bytes]) -> tuple[Path, Path]:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / state.JSON, folder / state.TENSORS


def test_files_hold_all_of_it(bandit: Bandit, stream: Rows, tmp_path: Path) -> None:
    files = state.files(bandit)
    found = state.load(*saved(tmp_path, files), name="here")
    assert state.files(found) == files
    assert np.array_equal(found.contexts(stream.values), bandit.contexts(stream.values))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"schema":1,"settings"', b'"schema":9,"settings"', "schema 9"),
        (b'"networks":1', b'"networks":2', "damaged"),
        (b'"explore":0.3', b'"explore":-1', "make no sense"),
        (b'"noise":[[', b'"noise":[[-', "damaged"),
        (b'"tensors":"', b'"tensors":"0', "is not the one"),
    ],
)
def test_files_that_are_not_believed(
    bandit: Bandit, tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    files = state.files(bandit)
    assert old in files[state.JSON]
    files[state.JSON] = files[state.JSON].replace(old, new, 1)
    with pytest.raises((BanditError, PredictorError), match=message):
        state.load(*saved(tmp_path, files), name="here")
