"""Ways to search a lattice of merges: ours, CMA-ES as mergekit-evolve begins it, and random."""

import tempfile
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from search_trial import LEVELS, SHARES, PairTrial, Point

from simmerge_hub.learning.searching.attempts import Attempt
from simmerge_hub.learning.searching.loop import Judge, Quest, run_quest
from simmerge_hub.learning.searching.search import PREDICTED
from simmerge_hub.learning.searching.space import RANGES, WEIGHT, params_of, points_of
from simmerge_hub.operators import Arm, arm

BUDGET, OURS = 100, 40
"""Evaluations that CMA-ES and random search have, and that ours has."""
SIGMA = 1 / 6
SAFE = (arm("regmean", alpha=0.9), arm("linear"))

Curve = list[tuple[float, float, Point]]
"""(evaluations spent, best score so far, its point), a step at a time."""


def search_ours(trial: PairTrial, seed: int, starts: Sequence[Arm], budget: float) -> Curve:
    """What `simmerge-hub search` does, attempt by attempt."""

    def try_point(point: Point, judge: Judge) -> Attempt:
        few, score = trial.few_and_whole(point)
        if not judge(few):
            return Attempt(params=point, few=few, score=None, cost=0.25)
        return Attempt(params=point, few=few, score=score, cost=1.25)

    quest = Quest(models=2, budget=budget, starts=tuple(points_of(starts, 2)), seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        attempts = run_quest(quest, try_point, Path(folder, "state.jsonl"), "")
    spent, curve = 0.0, Curve()
    for each in attempts:
        spent += each.cost
        if each.score is not None and (not curve or each.score > curve[-1][1]):
            curve.append((spent, each.score, each.params))
    return curve


def search_cma(
    trial: PairTrial, seed: int, begin: Sequence[float], decode: Callable[[Any], Point]
) -> Curve:
    """CMA-ES from `begin`, as mergekit-evolve runs it."""
    import cma

    options = {"seed": seed + 1, "maxfevals": BUDGET, "verbose": -9}
    strategy = cma.CMAEvolutionStrategy(list(begin), SIGMA, options)
    points = list[Point]()
    while len(points) < BUDGET and not strategy.stop():
        asked = strategy.ask()
        some = [decode(each) for each in asked]
        points += some
        strategy.tell(asked, [-trial.few_and_whole(point)[1] for point in some])
    return follow(trial, points[:BUDGET])


def follow(trial: PairTrial, points: Sequence[Point]) -> Curve:
    """The best so far of points that are all evaluated whole."""
    curve = Curve()
    for number, point in enumerate(points, 1):
        score = trial.few_and_whole(point)[1]
        if not curve or score > curve[-1][1]:
            curve.append((float(number), score, point))
    return curve


def decode_ties(numbers: Any) -> Point:
    """Two weights, density, scale; mergekit-evolve takes absolute values and cuts."""
    weights, (density, scale) = np.abs(numbers[:2]), np.abs(numbers[2:])
    limits = RANGES["ties"]
    return {
        "operator": "ties", **{f"weight.{i}": max(float(w), 1e-3) for i, w in enumerate(weights)},
        "ties.density": float(np.clip(density, *limits["density"])),
        "ties.scale": float(np.clip(scale, *limits["scale"])),
    }  # fmt: skip


def decode_whole(numbers: Any) -> Point:
    """All of the space: five numbers of which the largest says the operator, and the rest."""
    numbers, operators = np.clip(numbers, 0.0, 1.0), list(RANGES)
    operator = operators[int(np.argmax(numbers[: len(operators)]))]
    named = [("weight.0", WEIGHT), ("weight.1", WEIGHT)]
    named += [(f"{o}.{n}", limits) for o, known in RANGES.items() for n, limits in known.items()]
    values = {
        name: low + float(x) * (high - low)
        for x, (name, (low, high)) in zip(numbers[len(operators) :], named, strict=True)
    }
    own = {n: v for n, v in values.items() if n.startswith(("weight.", f"{operator}."))}
    return {"operator": operator, **own}


def random_points(seed: int) -> list[Point]:
    """BUDGET points, operators and parameters drawn evenly."""
    random = np.random.default_rng(seed)
    points = list[Point]()
    for _ in range(BUDGET):
        operator = str(random.choice(list(RANGES)))
        point: dict[str, Any] = {"operator": operator}
        point |= {f"weight.{i}": float(random.uniform(*WEIGHT)) for i in range(2)}
        point |= {f"{operator}.{n}": float(random.uniform(*r)) for n, r in RANGES[operator].items()}
        points.append(point)
    return points


def grid_points(shares: Sequence[float] = SHARES) -> list[Point]:
    """The lattice: every operator at all weights and three values of each parameter."""
    points = list[Point]()
    for operator, ranges in RANGES.items():
        levels = [np.linspace(*limits, LEVELS + 1) for limits in ranges.values()]
        for share, *values in product(shares, *levels):
            own = {f"{operator}.{n}": float(v) for n, v in zip(ranges, values, strict=True)}
            weights = {"weight.0": share, "weight.1": 1 - share}
            points.append({"operator": operator, **weights, **own})
    return points


def methods(starts: Sequence[Arm]) -> dict[str, Callable[[PairTrial, int], Curve]]:
    """Name -> how a pair is searched with a seed."""
    numbers = len(RANGES) + 2 + sum(map(len, RANGES.values()))
    best = [each for each in starts if params_of(each, 2)][:PREDICTED]

    return {
        "ours": lambda trial, seed: search_ours(trial, seed, (*best, *SAFE), OURS),
        "ours, nothing predicted": lambda trial, seed: search_ours(trial, seed, SAFE, OURS),
        "CMA-ES on TIES": lambda trial, seed: search_cma(
            trial, seed, (0.5, 0.5, 1, 1), decode_ties
        ),
        "CMA-ES": lambda trial, seed: search_cma(trial, seed, (0.5,) * numbers, decode_whole),
        "random": lambda trial, seed: follow(trial, random_points(seed)),
    }
