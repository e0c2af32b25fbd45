"""What a forecast makes of a predictor's gains: v + g (u - v), worked out by hand."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch

from simmerge_hub.operators import Arm, arm
from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.choice import Choice
from simmerge_hub.planning.pairs import decide
from simmerge_hub.planning.tree import join, leaf
from simmerge_hub.planning.trees.forecast import Forecast
from simmerge_hub.selector.predictor.measured import at_once
from simmerge_hub.selector.tables.merges import Merges
from simmerge_hub.signatures.features.vector import FEATURE_NAMES
from simmerge_hub.signatures.signing.signature import Settings, Signature
from tests.rankings import inputs, ranking

TENSORS = [f"model.layers.{layer}.mlp.up_proj.weight" for layer in range(3)]
WIDTH = 8
KNOWN = {"x": {"a": 1.0, "b": 0.5, "c": 0.3}, "y": {"a": 0.2, "b": 0.4, "c": 1.0}}
LINEAR, LEANING = arm("linear"), arm("linear", weights=(0.7, 0.3))


def signature(name: str, seed: int) -> Signature:
    generator = torch.Generator().manual_seed(seed)
    return Signature(
        name=name,
        commit=None,
        digest=name,
        kind="full",
        settings=Settings(),
        shapes=dict.fromkeys(TENSORS, (WIDTH, WIDTH)),
        sampled={n: torch.randn(WIDTH, WIDTH, generator=generator) for n in TENSORS},
    )


class Told:
    """A predictor that knows one gain and one half-width, and what it was asked."""

    names = FEATURE_NAMES

    def __init__(self, gain: float, width: float) -> None:
        self.gain, self.width = gain, width
        self.arms: list[Sequence[Arm]] = []
        self.tasks: list[str] = []

    def bulk(self, values: Any, moved: Any, arms: Sequence[Arm]) -> Any:
        self.arms.append(arms)
        shape = (len(values), len(arms))
        assert moved.shape[:2] == shape
        return np.full(shape, self.gain), np.full(shape, self.width)

    def of_many(self, merges: Merges) -> Any:
        self.tasks += merges.tasks
        return np.full(len(merges), self.gain), np.full(len(merges), self.width)


def forecast(
    gain: float = 0.5, width: float = 0.2, known: Mapping[str, Mapping[str, float]] = KNOWN
) -> Forecast:
    models = sorted({model for own in known.values() for model in own})
    return Forecast(
        predictor=cast(Any, Told(gain, width)),
        base=signature("base", 9),
        models={name: signature(name, seed) for seed, name in enumerate(models)},
        known=known,
    )


def told(of: Forecast) -> Told:
    return cast(Told, of.predictor)


def merge(of: Forecast, models: str, by: Arm = LINEAR) -> Choice:
    (choice,) = of.trees([join(by, *map(leaf, models))])
    return choice


@pytest.mark.parametrize(
    ("models", "x", "y"),
    [
        # the best keeps u, the plain mean of the others v: v + 0.5 (u - v), and 0.2 (u - v) beside
        ("abc", (0.4 + 0.5 * 0.6, 0.2 * 0.6), (0.3 + 0.5 * 0.7, 0.2 * 0.7)),
        ("ab", (0.5 + 0.5 * 0.5, 0.2 * 0.5), (0.2 + 0.5 * 0.2, 0.2 * 0.2)),
        ("bc", (0.3 + 0.5 * 0.2, 0.2 * 0.2), (0.4 + 0.5 * 0.6, 0.2 * 0.6)),
    ],
)
def test_gains_become_utilities_of_the_stated_scores(
    models: str, x: tuple[float, float], y: tuple[float, float]
) -> None:
    spreads = merge(forecast(), models).spreads()
    for task, (middle, half) in {"x": x, "y": y}.items():
        assert spreads[task] == pytest.approx((middle, middle - half, middle + half))


def test_of_many_fed_models_the_mean_of_measured_sets_is_expected() -> None:
    """And nothing is asked of the predictor."""
    of, regmean = forecast(), arm("regmean", alpha=0.9)
    gain, radius = at_once.read().expect(regmean.label, 3)
    assert 0 < gain < 1
    assert 0 < radius < 1
    choice = merge(of, "abc", regmean)
    assert choice.beliefs["x"].mean == pytest.approx(0.4 + gain * 0.6)
    middle, low, high = choice.spreads()["y"]
    assert high - middle == pytest.approx(min(radius * 0.7, 1.5 - middle))
    assert middle - low == pytest.approx(min(radius * 0.7, middle))
    assert not told(of).tasks
    merge(of, "ab", regmean)
    assert told(of).arms == [(regmean,)]


def test_of_more_models_than_were_measured_as_of_the_most() -> None:
    known = at_once.read()
    most = max(known.sets)
    for label in known.gains:
        assert known.expect(label, most + 3) == known.expect(label, most)
    assert f"{known.sets[most]} sets of nano models, of {most} models each" == known.says(most + 1)


def test_a_tree_in_two_steps_is_seen_as_a_whole() -> None:
    of = forecast()
    tree = join(LINEAR, join(LINEAR, leaf("a"), leaf("b")), leaf("c"))
    (choice,) = of.trees([tree])
    assert choice.beliefs["x"].mean == pytest.approx(0.7)
    assert choice.label == tree.label


@pytest.mark.parametrize("models", ["ab", "abc"])
def test_where_models_do_not_differ_nothing_is_asked(models: str) -> None:
    """A gap below a twentieth is no gap: the merge is as good as they are."""
    known = {"x": {"a": 1.0, "b": 0.98, "c": 0.98}, "y": {"a": 1.0, "b": 0.0, "c": 0.0}}
    of = forecast(gain=-1.0, known=known)
    spreads = merge(of, models).spreads()
    assert spreads["x"] == pytest.approx((0.99, 0.99, 0.99))
    assert spreads["y"][:2] == (0.0, 0.0)
    assert set(told(of).tasks) <= {"y"}


def test_a_task_that_none_of_them_knows_stays_at_nothing() -> None:
    of = forecast(known={"x": {"a": 1.0}, "y": {"b": 1.0}, "z": {"c": 1.0}})
    assert merge(of, "ab").spreads()["z"] == (0.0, 0.0, 0.0)


def test_an_arm_is_seen_from_the_task_s_better_model() -> None:
    of = forecast(known={"y": {"a": 0.2, "b": 1.0}})
    merge(of, "ab", LEANING)
    assert told(of).arms == [(LEANING.swapped(),)]
    of = forecast(known={"y": {"a": 1.0, "b": 0.2}})
    merge(of, "ab", LEANING)
    assert told(of).arms == [(LEANING,)]


def test_a_pair_has_the_utility_that_a_plan_of_two_gives_it() -> None:
    """The other model has half the expert's score: 0.5 + 0.5 · gain, in both plans."""
    scores = {"code": {"a": 0.8, "b": 0.4}}
    known = {"code": {"a": 1.0, "b": 0.5, "c": 0.0}}
    gain, width = 0.62, 0.2
    of_two = decide(
        inputs({"code": "a"}, scores, names=("a", "b")),
        {"code": ranking("code", linear=gain, width=width)},
        Objective(),
    ).best
    of_three = merge(forecast(gain, width, known), "ab")
    for choice in (of_two, of_three):
        assert choice.spreads()["code"] == pytest.approx((0.81, 0.71, 0.91))
    keep = Objective(keep={"code": 0.8})
    assert not keep.missing(of_two.spreads())
    assert not keep.missing(of_three.spreads())
    more = Objective(keep={"code": 0.85})
    assert more.missing(of_two.spreads()) == pytest.approx({"code": 0.04})
    assert more.missing(of_three.spreads()) == pytest.approx({"code": 0.04})


def test_of_models_that_do_not_differ_a_pair_and_a_tree_say_the_same() -> None:
    of_two = decide(
        inputs({"code": "a"}, {"code": {"a": 0.5, "b": 0.49}}, names=("a", "b")),
        {"code": ranking("code", linear=0.1, width=0.2)},
        Objective(),
    ).best
    of_three = merge(forecast(0.1, 0.2, {"code": {"a": 1.0, "b": 0.98, "c": 0.0}}), "ab")
    for choice in (of_two, of_three):
        assert choice.spreads()["code"] == pytest.approx((0.99, 0.99, 0.99))


def test_a_model_that_is_the_best_at_no_task_is_idle() -> None:
    of = forecast()
    assert merge(of, "abc").idle == {"b"}
    assert merge(of, "ac").idle == frozenset()


def test_forecasts_are_counted_and_remembered() -> None:
    of = forecast()
    choice = merge(of, "abc")
    merge(of, "ab")
    assert of.scored == 2
    assert of.latest[choice.tree.label] is choice
