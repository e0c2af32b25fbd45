"""What a merge tree is expected to reach on every task, without making any merge.

Two models are a pair, and the pairwise predictor gives the share g of the gap that a merge closes:
of a model that keeps u of the task expert's score and one that keeps v < u the merge keeps
v + g (u − v). A tree of three models and more is seen as a whole: on each task its best model there
and the plain mean of all the others are the pair, and where the tree's merge lies between these two
is known from sampled weights. (Step by step, with each intermediate's behaviour guessed, plans were
worse: docs/log.md.) A merge that was really run on the probes has its behaviour looked at as well.
Of three models and more that are merged by what their layers are fed, nothing is predicted from the
models: it is expected what such merges reached on average (`selector.predictor.measured.at_once`).

Every pair here has its arm's own interval. The interval that a plan of two models gives the arm
ranked first comes from the errors of first places on one pair; a tree is the best of many pairs,
which no held-out errors are known of, so it is judged with CAUTION instead.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from simmerge_hub.operators import Arm, known_arm
from simmerge_hub.planning.choice import Choice, Gap, model_alone
from simmerge_hub.planning.tree import Tree, sees_activations
from simmerge_hub.selector.predictor.measured import at_once
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.tables.merges import Merges
from simmerge_hub.selector.tables.rows import Floats
from simmerge_hub.signatures.features.vector import features
from simmerge_hub.signatures.measures.remembered import remember
from simmerge_hub.signatures.merged.effects import EFFECT_NAMES as EFFECTS
from simmerge_hub.signatures.merged.effects import effects, effects_of_merge, swap_effects
from simmerge_hub.signatures.merged.likeness import likeness
from simmerge_hub.signatures.merged.simulation import simulate_merge
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing.signature import Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Models on a task, seen as a pair: the best of them, and the plain mean of all the others.

    `values` are the pair's features, in the predictor's order.
    """

    task: str
    expert: str
    others: tuple[str, ...]
    values: Floats
    gap: Gap


Answer = tuple[Tree, View, float, float]
"""A tree on a task, its gain, and the half-width of its interval."""


@dataclass(slots=True, kw_only=True)
class Forecast:
    """Forecasts of trees over some models; what several of them need is made once.

    Args:
        predictor: of pairs, and of merges of many.
        base: the base's signature, if there is a base.
        models: name -> signature.
        known: task -> model -> utility relative to the task's expert, 1 for the expert; 0 where
            nothing is stated.
        fed: the arms on what the models' layers are fed that may be used.
        intermediates: label of a tree inside others -> the signature of its weights.
        views: models -> what they look like on each task; means: models -> their plain mean.
        runs: label of a tree -> task -> what its merge did on the task's probes.
        latest: label of a tree -> what was expected of it last.
        scored: how many merges were predicted.
    """

    predictor: Predictor
    base: Signature | None
    models: Mapping[str, Signature]
    known: Mapping[str, Mapping[str, float]]
    fed: Sequence[Arm] = ()
    intermediates: dict[str, Signature] = field(default_factory=dict)
    views: dict[tuple[str, ...], list[View]] = field(default_factory=dict)
    means: dict[tuple[str, ...], Signature] = field(default_factory=dict)
    runs: dict[str, Mapping[str, Sketch]] = field(default_factory=dict)
    latest: dict[str, Choice] = field(default_factory=dict)
    scored: int = 0

    def model(self, name: str) -> Choice:
        """A model by itself."""
        return model_alone(name, self.known)

    def trees(self, asked: Iterable[Tree]) -> list[Choice]:
        """What is expected of these trees."""
        asked = list(asked)
        beliefs = {t.label: {v.task: v.gap.middle for v in self.view(t.models)} for t in asked}
        answers = (
            *self._pairs([tree for tree in asked if len(tree.models) == 2]),
            *self._many([t for t in asked if len(t.models) > 2 and not sees_activations(t)]),
            *self._fed([t for t in asked if len(t.models) > 2 and sees_activations(t)]),
        )
        for tree, view, gain, width in answers:
            beliefs[tree.label][view.task] = view.gap.belief(gain, width)
        self.scored += len(beliefs)
        idle = self._idle()
        for tree in asked:
            self.latest[tree.label] = Choice(
                tree=tree,
                beliefs=beliefs[tree.label],
                label=tree.label,
                idle=idle.intersection(tree.models),
                typical=len(tree.models) > 2 and sees_activations(tree),
            )
        return [self.latest[tree.label] for tree in asked]

    def weights(self, tree: Tree) -> Signature:
        """The signature of a tree's merge, without behaviour; its parts' are kept, it is not."""
        if tree.arm is None:
            return replace(self.models[tree.models[0]], sketches={})
        for part in tree.parts:
            if part.label not in self.intermediates:
                self.intermediates[part.label] = self.weights(part)
        return simulate_merge(
            tree.arm, self.base, [self.intermediates[part.label] for part in tree.parts]
        )

    def view(self, models: Sequence[str]) -> list[View]:
        """What the models look like on every task."""
        key = tuple(sorted(models))
        if key not in self.views:
            self.views[key] = [self._seen_as_a_pair(task, key) for task in self.known]
        return self.views[key]

    def likeness(self, tree: Tree, view: View) -> Floats:
        """How much the tree's merge behaves like the expert, if it was run."""
        own = self.models[view.expert].sketches.get(view.task)
        return likeness(self.runs.get(tree.label, {}).get(view.task), own)

    def effects(self, tree: Tree, views: Sequence[View]) -> Floats:
        """[views, effects]: where the tree's merge lies between the expert and the others."""

        def compute() -> Floats:
            whole = self.weights(tree)
            pairs = [(self.models[v.expert], self._mean(v.others)) for v in views]
            return np.stack([effects_of_merge(whole, *pair, self.base) for pair in pairs])

        signatures = [*(self.models[name] for name in tree.models), self.base]
        details = [repr(tree), *(repr((v.expert, v.others)) for v in views)]
        return remember("tree", signatures, details, (len(views), len(EFFECTS)), compute)

    def _apart(self, models: Sequence[str]) -> list[View]:
        """The tasks on which the models differ; elsewhere a merge lies in the middle."""
        return [view for view in self.view(models) if view.gap.size]

    def _idle(self) -> frozenset[str]:
        """The models that are the best at no task, nor its expert (which has 1, others may have
        more)."""
        left = [{m: known.get(m, 0.0) for m in self.models} for known in self.known.values()]
        experts = {m for known in left for m in known if known[m] >= min(1, max(known.values()))}
        return frozenset(self.models) - experts

    def _seen_as_a_pair(self, task: str, models: Sequence[str]) -> View:
        known = self.known[task]
        expert = max(models, key=lambda name: known.get(name, 0.0))
        others = [name for name in models if name != expert]
        return View(
            task=task,
            expert=expert,
            others=tuple(others),
            values=self._features(expert, others, task),
            gap=Gap(
                best=known.get(expert, 0.0),
                level=float(np.mean([known.get(name, 0.0) for name in others])),
            ),
        )

    def _features(self, expert: str, others: Sequence[str], task: str) -> Floats:
        """[features] of the expert and the plain mean of the others, in the predictor's order."""
        names = self.predictor.names

        def compute() -> Floats:
            rest = self._mean(others)
            return features(self.models[expert], rest, self.base, task, names=names).values

        if len(others) == 1:
            return compute()
        signatures = [*(self.models[name] for name in (expert, *others)), self.base]
        return remember("view", signatures, [task, *names], (len(names),), compute)

    def _mean(self, models: Sequence[str]) -> Signature:
        """The plain mean of models, with its behaviour to first order."""
        key = tuple(models)
        if key not in self.means:
            first, *others = (self.models[name] for name in models)
            self.means[key] = (
                simulate_merge(known_arm("linear"), self.base, [first, *others])
                if others
                else first
            )
        return self.means[key]

    def _many(self, trees: Sequence[Tree]) -> Iterator[Answer]:
        """Merges of three models and more."""
        asked = [(tree, views) for tree in trees if (views := self._apart(tree.models))]
        lines = [(tree, view) for tree, views in asked for view in views]
        if not lines:
            return
        merges = Merges(
            models=tuple(tree.models for tree, _ in lines),
            tasks=tuple(view.task for _, view in lines),
            arms=tuple(tree.arm or known_arm("linear") for tree, _ in lines),
            names=self.predictor.names,
            effect_names=EFFECTS,
            values=np.stack([view.values for _, view in lines]),
            effects=np.concatenate([self.effects(tree, views) for tree, views in asked]),
            likeness=np.stack([self.likeness(tree, view) for tree, view in lines]),
            gains=np.full(len(lines), np.nan),
        )
        for line, gain, width in zip(lines, *self.predictor.of_many(merges), strict=True):
            yield (*line, gain, width)

    def _fed(self, trees: Sequence[Tree]) -> Iterator[Answer]:
        """Merges of three models and more by what their layers are fed."""
        for tree in trees:
            assert tree.arm
            gain, width = at_once.read().expect(tree.arm.label, len(tree.models))
            for view in self._apart(tree.models):
                yield tree, view, gain, width

    def _pairs(self, trees: Sequence[Tree]) -> Iterator[Answer]:
        """Merges of two models; what is asked about the same arms is asked together."""
        by_models: dict[tuple[str, ...], list[Tree]] = {}
        for tree in trees:
            by_models.setdefault(tree.models, []).append(tree)
        groups: dict[tuple[str, ...], list[_Question]] = {}
        for models, same in by_models.items():
            for question in self._questions(models, same):
                groups.setdefault(tuple(a.label for a in question.arms), []).append(question)
        for group in groups.values():
            values = np.stack([question.view.values for question in group])
            arm_effects = np.stack([question.effects for question in group])
            answers = zip(
                group, *self.predictor.bulk(values, arm_effects, group[0].arms), strict=True
            )
            for question, gains, widths in answers:
                for tree, gain, width in zip(question.trees, gains, widths, strict=True):
                    yield tree, question.view, gain, width

    def _questions(self, models: Sequence[str], trees: Sequence[Tree]) -> "list[_Question]":
        """For every task on which the two differ: all arms, seen from its better model."""
        arms = tuple(tree.arm for tree in trees if tree.arm)
        first, second = (self.models[name] for name in models)
        arm_effects = effects(first, second, self.base, arms)
        ahead = (arms, arm_effects)
        behind = (tuple(a.swapped() for a in arms), swap_effects(arm_effects))
        return [
            _Question(view, trees, *(ahead if view.expert == models[0] else behind))
            for view in self._apart(models)
        ]


class _Question(NamedTuple):
    """Merges of the same two models on a task, with their arms and effects seen from its expert."""

    view: View
    trees: Sequence[Tree]
    arms: tuple[Arm, ...]
    effects: Floats
