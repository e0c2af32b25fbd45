"""The bandit on a made-up zoo with a clear rule: it starts well, learns, forgets, and recovers."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simmerge_hub.errors import BanditError, PredictorError
from simmerge_hub.operators import arm
from simmerge_hub.selector.bandit import representation, state
from simmerge_hub.selector.bandit.bandit import (
    Bandit,
    Choice,
    Settings,
    choose,
    is_misled,
    retrain,
    start,
)
from simmerge_hub.selector.bandit.history import History, Suggestion
from simmerge_hub.selector.tables.rows import Rows, join
from tests.selector.conftest import ARMS, zoo

EMPTY = History(suggestions={}, gains={})


@pytest.fixture(scope="module", autouse=True)
def quick() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(representation, "TREES", 200)
        yield


@pytest.fixture(scope="module")
def offline() -> Rows:
    return join(*zoo(models=14), ARMS)


@pytest.fixture(scope="module")
def stream() -> Rows:
    return join(*zoo(models=16, seed=5), ARMS)


@pytest.fixture(scope="module")
def bandit(offline: Rows) -> Bandit:
    return start(offline)


def tell(
    rows: Rows, picks: Callable[[int], str], forecast: Callable[[float], float] = lambda gain: gain
) -> History:
    """Every row as a suggestion that was reported, with what was forecast of that gain."""
    labels = [a.label for a in rows.arms]
    suggestions, gains = {}, {}
    for i in range(len(rows)):
        name, label = f"s{i + 1:06d}", picks(i)
        gain = float(rows.gains[i, labels.index(label)])
        suggestions[name] = Suggestion(
            id=name, arm=label, task="t", expert=rows.experts[i], auxiliary=rows.auxiliaries[i],
            chance={}, forecast=forecast(gain), expected=0.5,
            values=tuple(map(float, rows.values[i])), effects=(),
        )  # fmt: skip
        gains[name] = gain
    return History(suggestions=suggestions, gains=gains)


def no_effects(count: int, bandit: Bandit, history: History = EMPTY) -> np.ndarray:
    return np.zeros((count, len(bandit.all_arms(history)), 0))


def forecast(bandit: Bandit, values: np.ndarray) -> np.ndarray:
    return bandit.represent.forecast(values, no_effects(len(values), bandit), bandit.arms)


def ask(bandit: Bandit, history: History, rows: Rows, place: int) -> Choice:
    names = rows.experts[place], rows.auxiliaries[place]
    beliefs = bandit.beliefs(history, names)
    forecasts = bandit.forecasts(rows.values[[place]], no_effects(1, bandit, history), history)[0]
    return choose(bandit, beliefs, forecasts, beliefs.contexts(*names), number=3)


def regret(bandit: Bandit, history: History, rows: Rows) -> float:
    greedy = replace(bandit, settings=replace(bandit.settings, explore=0.0))
    labels = [a.label for a in rows.arms]
    chosen = [labels.index(ask(greedy, history, rows, i).arm) for i in range(len(rows))]
    return float((rows.gains.max(1) - rows.gains[np.arange(len(rows)), chosen]).mean())


def test_it_starts_better_than_the_best_fixed_arm(bandit: Bandit, stream: Rows) -> None:
    fixed = stream.gains.max(1).mean() - stream.gains.mean(0).max()
    assert regret(bandit, EMPTY, stream) < 0.5 * fixed


def test_it_starts_as_the_offline_forecast(bandit: Bandit, stream: Rows) -> None:
    greedy = replace(bandit, settings=Settings(explore=0.0))
    best = forecast(bandit, stream.values).argmax(axis=1)
    for place in range(0, len(stream), 7):
        assert ask(greedy, EMPTY, stream, place).arm == bandit.labels[best[place]]


def test_chances_add_up_and_say_who_is_likely(bandit: Bandit, stream: Rows) -> None:
    found = ask(bandit, EMPTY, stream, 0)
    assert sum(found.chance.values()) == pytest.approx(1)
    assert set(found.chance) == {a.label for a in ARMS}
    assert found == ask(bandit, EMPTY, stream, 0)


def test_beliefs_do_not_depend_on_the_order_of_reports(bandit: Bandit, stream: Rows) -> None:
    history = tell(stream, lambda i: ARMS[i % 4].label)
    mixed = list(history.gains.items())
    random.Random(1).shuffle(mixed)
    other = replace(history, gains=dict(mixed))
    one, two = (bandit.beliefs(h, stream.models).belief for h in (history, other))
    assert np.array_equal(one.mean, two.mean)
    assert np.array_equal(one.root, two.root)


def test_old_reports_fade(bandit: Bandit, stream: Rows) -> None:
    history = tell(stream, lambda i: "linear")
    fading = replace(bandit, settings=replace(bandit.settings, keep=0.9))
    count = fading.beliefs(history, ()).belief.shape - bandit.beliefs(EMPTY, ()).belief.shape
    assert count == pytest.approx(0.5 * (1 - 0.9 ** len(stream)) / (1 - 0.9))


def test_less_trust_in_forecasts_is_corrected_faster(bandit: Bandit, stream: Rows) -> None:
    history = tell(stream.take(np.arange(5)), lambda i: "linear")
    wary = replace(bandit, settings=replace(bandit.settings, trust=0.2))
    names = stream.experts[0], stream.auxiliaries[0]
    moved = []
    for used in (bandit, wary):
        beliefs = used.beliefs(history, names)
        moved.append(abs(beliefs.means(beliefs.contexts(*names))[bandit.labels.index("linear")]))
    assert moved[1] > moved[0]


def test_retraining_recomputes_the_past_and_leaves_the_state_alone(
    bandit: Bandit, stream: Rows
) -> None:
    history = tell(stream, lambda i: ARMS[i % 4].label)
    made = retrain(bandit, history)
    before, after = (forecast(b, stream.values) for b in (bandit, made))
    assert not np.array_equal(before, after)
    assert len(made.gains) == len(bandit.gains)
    assert regret(made, history, stream) <= regret(bandit, EMPTY, stream) + 0.02
    assert retrain(bandit, EMPTY) is bandit


def test_a_wrong_warm_start_is_noticed_and_left_out(
    bandit: Bandit, offline: Rows, stream: Rows
) -> None:
    wrong = start(replace(offline, gains=offline.gains[:, ::-1] - 0.8))
    history = tell(stream, lambda i: ARMS[i % 4].label, forecast=lambda gain: -gain)
    assert is_misled(bandit, history)
    assert not is_misled(bandit, tell(stream, lambda i: "linear", forecast=lambda gain: 0.1))
    new = {name: replace(s, arm="sce") for name, s in history.suggestions.items()}
    assert not is_misled(bandit, replace(history, suggestions=new))
    assert not is_misled(
        bandit, tell(stream, lambda i: "linear", forecast=lambda gain: gain / 2 + 1)
    )
    assert not is_misled(
        bandit, tell(stream.take(np.arange(10)), lambda i: "linear", lambda gain: -gain)
    )
    made = retrain(wrong, history)
    assert len(made.gains) == 0
    assert regret(made, history, stream) < regret(wrong, EMPTY, stream)


def test_an_added_arm_is_forecast_from_what_it_is(bandit: Bandit, stream: Rows) -> None:
    near, stranger = arm("ties", density=0.21), arm("sce", density=0.5)
    history = replace(EMPTY, added=(near, stranger))
    found = bandit.forecasts(stream.values, no_effects(len(stream), bandit, history), history)
    kin = bandit.labels.index("ties(density=0.2)")
    others = [i for i in range(4) if i != kin]
    apart = np.abs(found[:, [4]] - found[:, :4]).mean(axis=0)
    assert apart[kin] < 0.02 < 0.1 < apart[others].min()
    assert np.isfinite(found).all()
    assert set(ask(bandit, history, stream, 0).chance) > {near.label, stranger.label}


def test_what_an_arm_does_to_a_pair_decides(offline: Rows, stream: Rows) -> None:
    """The gain is one of the effects, and nothing else says it: also of an arm never measured."""
    told, new = with_effects(offline, len(ARMS)), with_effects(stream, len(ARMS) + 1)
    bandit = start(told)
    found = bandit.forecasts(new.values, new.effects, replace(EMPTY, added=(arm("sce"),)))
    best = new.effects[:, :, 1].argmax(axis=1)
    right = found.argmax(axis=1) == best
    assert right.mean() > 0.8
    assert right[best == len(ARMS)].mean() > 0.8


def with_effects(rows: Rows, arms: int) -> Rows:
    effects = np.random.default_rng(arms).uniform(size=(len(rows), arms, 2))
    return replace(
        rows, effect_names=("one", "other"), effects=effects, gains=effects[:, : len(ARMS), 1]
    )


def test_an_added_arm_is_learned_by_retraining(bandit: Bandit, stream: Rows) -> None:
    """Of the added arm alone something was reported: it rises, the others hardly do."""
    new = arm("sce", density=0.5)
    history = replace(tell(stream, lambda _: "linear", lambda _: 1.4), added=(new,))
    good = replace(
        history,
        suggestions={i: replace(s, arm=new.label) for i, s in history.suggestions.items()},
        gains=dict.fromkeys(history.gains, 1.4),
    )
    none = no_effects(len(stream), bandit, history)
    made = retrain(bandit, good)
    before, after = (b.forecasts(stream.values, none, good).mean(axis=0) for b in (bandit, made))
    assert after[-1] - before[-1] > 0.3 + (after - before)[:-1].max()
    assert "sce" in made.represent.operators
    assert "sce" not in bandit.represent.operators


def test_a_forest_is_grown_again_from_what_was_read(
    bandit: Bandit, stream: Rows, tmp_path: Path
) -> None:
    found = state.load(*save(tmp_path, state.files(bandit)), name="here")
    assert np.array_equal(forecast(bandit, stream.values), forecast(found, stream.values))
    history = tell(stream, lambda i: ARMS[i % 4].label)
    one, other = (forecast(retrain(b, history), stream.values) for b in (bandit, found))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, forecast(found, stream.values))


def test_a_wrong_warm_start_forgets_effects_too(offline: Rows, stream: Rows) -> None:
    """Some effects of what was reported are missing."""
    rows, new = with_effects(offline, len(ARMS)), with_effects(stream, len(ARMS))
    wrong = start(replace(rows, gains=rows.gains[:, ::-1] - 0.8))
    history = tell(stream, lambda i: ARMS[i % 4].label, lambda gain: -gain)
    known = replace(
        history,
        suggestions={
            name: replace(s, effects=(None, float(new.effects[i, i % 4, 1])))
            for i, (name, s) in enumerate(history.suggestions.items())
        },
    )
    made = retrain(wrong, known)
    assert len(made.effects) == len(made.gains) == 0
    assert np.isfinite(made.represent.forecast(new.values, new.effects, made.arms)).all()


@pytest.mark.parametrize(
    "wrong", [{"keep": 0.0}, {"trust": 0.0}, {"explore": float("inf")}, {"seed": -1}, {"seed": 0.5}]
)
def test_settings_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(BanditError, match="cannot learn with"):
        Settings(**wrong)  # type: ignore[arg-type]


def test_without_any_feature_there_is_a_forecast(bandit: Bandit, stream: Rows) -> None:
    values = stream.values[:3].copy()
    values[:, :] = np.nan
    assert np.isfinite(forecast(bandit, values)).all()


def save(folder: Path, files: dict[str, bytes]) -> tuple[Path, Path]:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / state.JSON, folder / state.TENSORS


def test_files_hold_all_of_it(offline: Rows, tmp_path: Path) -> None:
    rows = with_effects(offline, len(ARMS))
    rows.effects[0, 0, 0] = np.nan
    bandit = start(rows)
    files = state.files(bandit)
    found = state.load(*save(tmp_path, files), name="here")
    assert state.files(found) == files
    before, after = (
        b.represent.forecast(rows.values, rows.effects, b.arms) for b in (bandit, found)
    )
    assert np.array_equal(before, after)
    assert np.array_equal(bandit.ties, found.ties)
    assert np.array_equal(bandit.effects, found.effects, equal_nan=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"schema":3,"settings"', b'"schema":9,"settings"', "schema 9"),
        (b'"effects":[]', b'"effects":["one"]', "damaged"),
        (b'"operators":["linear",', b'"operators":["linear","sce",', "damaged"),
        (b'"num_class":"0","num_feature":"', b'"num_class":"0","num_feature":"9', "damaged"),
        (b'"explore":0.05', b'"explore":-1', "cannot learn with"),
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
        state.load(*save(tmp_path, files), name="here")
