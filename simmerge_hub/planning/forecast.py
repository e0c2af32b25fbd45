"""What a merge tree is expected to reach on every task, step by step, without making any merge.

A step is a pair: its parts' signatures (those of intermediates are merged signatures) give the
features, and the pairwise predictor the share g of the gap it closes. So a part that reaches u on a
task and another that reaches v < u give v + g (u − v); the errors of u, v and g add up as if
independent. A merge of many models at once is seen as the pair of a task's expert and the same
merge of all the others, with the effects of the real one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap

import numpy as np

from simmerge_hub.operators import Arm, arm
from simmerge_hub.planning.objective import Spread
from simmerge_hub.planning.trees import Tree, at_once, joined, leaf, pairwise
from simmerge_hub.selector.outcomes import HIGHEST, SMALLEST_GAP
from simmerge_hub.selector.predictor import Predictor
from simmerge_hub.selector.rows import Floats
from simmerge_hub.signatures.effects import effect_of, effects, seen_from_the_other
from simmerge_hub.signatures.features import features
from simmerge_hub.signatures.merging import merged
from simmerge_hub.signatures.signature import Signature

WITHIN = 1.645
"""Standard deviations of a normal error that the predictor's 90 % intervals reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is expected on a task: the mean, relative to the task's expert, and its variance."""

    mean: float
    variance: float = 0.0

    def spread(self, deviations: float = WITHIN) -> Spread:
        """(middle, low, high), so many standard deviations around the mean, in [0, 1.5]."""
        width = deviations * self.variance**0.5
        return self.mean, max(0.0, self.mean - width), min(HIGHEST, self.mean + width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A tree and what is expected of it: task -> belief."""

    tree: Tree
    beliefs: Mapping[str, Belief]

    def spreads(self, deviations: float = WITHIN) -> dict[str, Spread]:
        """Task -> (middle, low, high)."""
        return {task: belief.spread(deviations) for task, belief in self.beliefs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """A pair on a task: what the predictor is asked, and the parts' own utilities."""

    values: Floats
    moved: Floats
    arms: tuple[Arm, ...]
    best: Belief
    rest: Belief


@dataclass(slots=True, kw_only=True)
class Forecast:
    """Forecasts of trees over some models; intermediates' signatures are made once.

    Args:
        predictor: the pairwise one.
        base: the base's signature, if there is a base.
        models: name -> signature.
        known: task -> model -> utility relative to the task's expert, 1 for the expert; 0 where
            nothing is stated.
        made: label of a tree -> its signature. What is put in here beforehand is used instead of
            merging signatures.
        seen: label of a tree -> what was expected of it.
        scored: how many merges were predicted.
    """

    predictor: Predictor
    base: Signature | None
    models: Mapping[str, Signature]
    known: Mapping[str, Mapping[str, float]]
    made: dict[str, Signature] = field(default_factory=dict)
    seen: dict[str, Candidate] = field(default_factory=dict)
    scored: int = 0

    def model(self, name: str) -> Candidate:
        """A model by itself."""
        beliefs = {t: Belief(mean=known.get(name, 0.0)) for t, known in self.known.items()}
        return Candidate(tree=leaf(name), beliefs=beliefs)

    def signature(self, tree: Tree) -> Signature:
        """The signature of a tree's merge."""
        if tree.arm is None:
            return self.models[tree.models[0]]
        if tree.label not in self.made:
            parts = [self.signature(part) for part in tree.parts]
            self.made[tree.label] = merged(tree.arm, self.base, parts)
        return self.made[tree.label]

    def steps(self, pairs: Iterable[tuple[Candidate, Candidate]]) -> list[Candidate]:
        """Each pair merged with each of its arms."""
        return self._answered(starmap(self._step, pairs))

    def at_once(self, models: Sequence[str]) -> list[Candidate]:
        """All of three or more models merged in one step, with each arm that can."""
        found = at_once(models, base=self.base is not None)
        return self._answered(self._once(tree) for tree in found)

    def _step(self, one: Candidate, other: Candidate) -> "_Asked":
        arms = pairwise(one.tree, other.tree, base=self.base is not None)
        first, second = self.signature(one.tree), self.signature(other.tree)
        moved = effects(first, second, self.base, arms)
        asked: dict[str, _Question | Belief] = {}
        for task in self.known:
            mine, theirs = one.beliefs[task], other.beliefs[task]
            if abs(mine.mean - theirs.mean) < SMALLEST_GAP:
                asked[task] = _between(mine, theirs)
            elif mine.mean > theirs.mean:
                values = features(first, second, self.base, task).values
                asked[task] = _Question(
                    values=values, moved=moved, arms=arms, best=mine, rest=theirs
                )
            else:
                asked[task] = _Question(
                    values=features(second, first, self.base, task).values,
                    moved=seen_from_the_other(moved),
                    arms=tuple(a.swapped() for a in arms),
                    best=theirs,
                    rest=mine,
                )
        return _Asked(trees=[joined(a, one.tree, other.tree) for a in arms], tasks=asked)

    def _once(self, tree: Tree) -> "_Asked":
        assert tree.arm is not None
        whole = merged(tree.arm, self.base, [self.signature(part) for part in tree.parts])
        asked: dict[str, _Question | Belief] = {}
        for task, known in self.known.items():
            expert = max(tree.models, key=lambda name: known.get(name, 0.0))
            others = [name for name in tree.models if name != expert]
            rest = self._rest(tree.arm, others)
            level = float(np.mean([known.get(name, 0.0) for name in others]))
            best = Belief(mean=known.get(expert, 0.0))
            if best.mean - level < SMALLEST_GAP:
                asked[task] = _between(best, Belief(mean=level))
                continue
            mine = self.models[expert]
            asked[task] = _Question(
                values=features(mine, rest, self.base, task).values,
                moved=effect_of(whole, mine, rest, self.base)[None],
                arms=(_as_pair(tree.arm, len(tree.models)),),
                best=best,
                rest=Belief(mean=level),
            )
        return _Asked(trees=[tree], tasks=asked)

    def _rest(self, chosen: Arm, others: Sequence[str]) -> Signature:
        """All but the expert, merged alike; of a scaled sum the plain sum."""
        if chosen.operator == "task_arithmetic":
            chosen = arm("task_arithmetic", scale=1.0)
        return self.signature(joined(chosen, *map(leaf, others)))

    def _answered(self, asked: Iterable["_Asked"]) -> list[Candidate]:
        """The candidates, with all questions of the same arms put to the predictor together."""
        everything = list(asked)
        groups: dict[tuple[str, ...], list[_Question]] = {}
        for each in everything:
            for question in each.tasks.values():
                if isinstance(question, _Question):
                    groups.setdefault(tuple(a.label for a in question.arms), []).append(question)
        answers: dict[int, list[Belief]] = {}
        for group in groups.values():
            answers |= self._ask(group)
        found = []
        for each in everything:
            for place, tree in enumerate(each.trees):
                beliefs = {
                    t: q if isinstance(q, Belief) else answers[id(q)][place]
                    for t, q in each.tasks.items()
                }
                found.append(Candidate(tree=tree, beliefs=beliefs))
        self.scored += len(found)
        self.seen |= {each.tree.label: each for each in found}
        return found

    def _ask(self, group: Sequence[_Question]) -> dict[int, list[Belief]]:
        gains, widths = self.predictor.bulk(
            np.stack([q.values for q in group]), np.stack([q.moved for q in group]), group[0].arms
        )
        return {
            id(q): [_closed(q, g, w) for g, w in zip(*rows, strict=True)]
            for q, *rows in zip(group, gains, widths, strict=True)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What must be known of some merges of the same parts: for every task one question for all."""

    trees: Sequence[Tree]
    tasks: Mapping[str, _Question | Belief]


def _as_pair(chosen: Arm, count: int) -> Arm:
    """The arm on a task's expert and all the others that does what `chosen` does to all at once."""
    if chosen.operator == "linear":
        return arm("linear", weights=(1 / count, 1 - 1 / count))
    return chosen


def _between(one: Belief, other: Belief) -> Belief:
    """Where neither part is the expert: their mean."""
    return Belief(mean=(one.mean + other.mean) / 2, variance=(one.variance + other.variance) / 4)


def _closed(question: _Question, gain: float, width: float) -> Belief:
    """v + g (u − v), with the variances of all three."""
    u, v = question.best, question.rest
    gap = u.mean - v.mean
    return Belief(
        mean=float(min(HIGHEST, max(0.0, v.mean + gain * gap))),
        variance=float(
            (gap * width / WITHIN) ** 2 + gain**2 * u.variance + (1 - gain) ** 2 * v.variance
        ),
    )
