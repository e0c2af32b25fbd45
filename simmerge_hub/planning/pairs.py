"""Two models -> the arms they may be merged with, in order.

Each task's ranking sees its expert first. Here all are seen in the order of the plan's models, and
gains become utilities.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import Arm
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.choice import Belief, Choice, from_gain, in_order, unmerged
from simmerge_hub.planning.evidence import Evidence
from simmerge_hub.planning.exploration import add_arms, explore
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.tree import join, leaf
from simmerge_hub.planning.verdict import Standing, Verdict, reasons, worst
from simmerge_hub.recipe.why import Spread
from simmerge_hub.selector.predictor import wording
from simmerge_hub.selector.predictor.predictor import NOT_ASKED, Predictor
from simmerge_hub.selector.predictor.ranking import Ranking
from simmerge_hub.selector.predictor.trust import Trust, combine
from simmerge_hub.signatures.features.vector import features
from simmerge_hub.signatures.merged.effects import effects, swap_effects

Effects = Mapping[str, Mapping[str, np.ndarray]]
"""Expert -> arm label, seen from it -> what the arm does to the pair."""


def judge_pair(
    inputs: Inputs,
    evidence: Evidence,
    predictor: Predictor,
    objective: Objective,
    *,
    bandit: str | None = None,
) -> Verdict:
    """Every arm that may merge two signed models, best first.

    Args:
        inputs: the two models; who is the expert for each task is known.
        evidence: their signatures.
        predictor: of gains.
        objective: what the arms are ordered by.
        bandit: a folder or `org/name` of a bandit, whose suggestion comes first.

    Raises:
        PredictorError: no arm is left on every task.
        ObjectiveError: no arm keeps what must be kept.
    """
    arms = objective.candidates([task.name for task in inputs.tasks])
    if bandit is not None:
        arms = add_arms(arms, bandit)
    reads = predictor.reads_effects(arms)
    moves = _effects(inputs, evidence, arms) if reads or bandit is not None else {}
    rankings = {
        task.name: _rank(task, inputs, evidence, predictor, arms, moves if reads else {})
        for task in inputs.tasks
    }
    verdict = decide(inputs, rankings, objective)
    if bandit is not None:
        verdict = explore(verdict, bandit, inputs, evidence, moves)
    return verdict


def decide(inputs: Inputs, rankings: Mapping[str, Ranking], objective: Objective) -> Verdict:
    """One ranking per task -> one verdict.

    Args:
        inputs: the two models, and the tasks.
        rankings: task -> its ranking, in which an arm's first model is the task's expert.
        objective: what the arms are ordered by; those that keep too little come last.
    """
    objective.check(rankings)
    choices = in_order(_choices(inputs, rankings), objective, caution=0.0)
    if not choices:
        raise PredictorError(
            "no operator is left that can be predicted for every task",
            hint="plan for fewer tasks: --expert TASK=MODEL names them",
        )
    trust = _trust(inputs, rankings, objective, choices)
    because: tuple[str, ...] = ()
    if trust is None or trust.followed:
        models = [unmerged(name, inputs.known) for name in inputs.names]
        because = reasons(choices, objective, 0.0, models)
    if trust is not None:
        because = (*because, *_grounds(trust, objective))
        choices.sort(key=lambda choice: choice.label != trust.chosen)
    labels = {choice.label for choice in choices}
    return Verdict(
        choices=tuple(choices),
        status=worst([ranking.status for ranking in rankings.values()]),
        because=because,
        objective=objective,
        standings={t.name: _standing(t, rankings[t.name], inputs.names) for t in inputs.tasks},
        left_out={a: why for a, why in _rejected(inputs, rankings).items() if a not in labels},
        trust=trust,
    )


def _trust(
    inputs: Inputs,
    rankings: Mapping[str, Ranking],
    objective: Objective,
    choices: Sequence[Choice],
) -> Trust | None:
    """Whether the first is taken, by the held-out pairs at least as far as the farthest task."""
    grounds = [each.grounds for each in rankings.values() if each.grounds is not None]
    if not grounds:
        return None
    gains = _gains(inputs, rankings)
    leads = {c.label: _lead(choices[0], c, gains, objective) for c in choices}
    both = len({task.expert for task in inputs.tasks}) > 1
    return combine(grounds).weigh(list(leads), leads, both=both)


def _gains(inputs: Inputs, rankings: Mapping[str, Ranking]) -> dict[str, dict[str, Spread]]:
    """Label of an arm -> task -> its predicted gain, the unit that leads are judged in."""
    gains: dict[str, dict[str, Spread]] = {}
    for task in inputs.tasks:
        for each in rankings[task.name].kept:
            label = _orient(each.arm, task, inputs.names).label
            gains.setdefault(label, {})[task.name] = (each.gain, each.gain, each.gain)
    return gains


def _lead(
    first: Choice,
    other: Choice,
    gains: Mapping[str, Mapping[str, Spread]],
    objective: Objective,
) -> float:
    """By how much the first is ahead: in what must be kept, else in the objective's gain."""
    lacks = [math.fsum(objective.missing(c.spreads()).values()) for c in (first, other)]
    if lacks[1] > lacks[0]:
        return lacks[1] - lacks[0]
    values = [objective.value(gains[c.label])[0] for c in (first, other)]
    return values[0] - values[1]


def _grounds(trust: Trust, objective: Objective) -> tuple[str, ...]:
    """What the choice stands on, in sentences without their full stops."""
    asked = not trust.followed and (bool(objective.keep) or objective != MEAN)
    unknown = ("Whether it meets the objective is not known",) if asked else ()
    return (*trust.because, *unknown)


def _level(task: Task, names: Sequence[str]) -> float:
    """The utility of the model that is not the expert; 0 where no card states its score."""
    return next(task.relative.get(model, 0.0) for model in names if model != task.expert)


def _orient(arm: Arm, task: Task, names: Sequence[str]) -> Arm:
    """An arm whose first model is the task's expert, in the order of the plan's models."""
    return arm if task.expert == names[0] else arm.swapped()


def _choices(inputs: Inputs, rankings: Mapping[str, Ranking]) -> list[Choice]:
    """The arms that are predicted for every task, with their utilities."""
    arms: dict[str, Arm] = {}
    beliefs: dict[str, dict[str, Belief]] = {}
    for task in inputs.tasks:
        level = _level(task, inputs.names)
        for each in rankings[task.name].kept:
            arm = _orient(each.arm, task, inputs.names)
            arms.setdefault(arm.label, arm)
            belief = from_gain(each.gain, each.width, level=level)
            beliefs.setdefault(arm.label, {})[task.name] = belief
    return [
        Choice(tree=join(arm, *map(leaf, inputs.names)), beliefs=beliefs[label], label=label)
        for label, arm in arms.items()
        if len(beliefs[label]) == len(inputs.tasks)
    ]


def _rejected(inputs: Inputs, rankings: Mapping[str, Ranking]) -> dict[str, str]:
    """Arms and why; those that were not asked for favour one model."""
    favours = "favours one model; considered with --weight or --keep"
    return {
        _orient(arm, task, inputs.names).label: favours if why == NOT_ASKED else why
        for task in inputs.tasks
        for arm, why in rankings[task.name].rejected
    }


def _standing(task: Task, ranking: Ranking, names: Sequence[str]) -> Standing:
    """What is best for one task alone, and why, in utilities and in the plan's order."""
    level = _level(task, names)
    gap = 1.0 - level
    gains = [(_orient(p.arm, task, names).label, p.gain) for p in ranking.kept]
    contributions = tuple(replace(c, lead=gap * c.lead) for c in ranking.contributions)
    other = wording.rival(gains)
    belief = from_gain(ranking.best.gain, ranking.best.width, level=level)
    return Standing(
        novelty=ranking.novelty,
        usual=ranking.usual,
        best=(gains[0][0], belief.spread()),
        next_best=other[0] if other else "",
        lead=gap * (gains[0][1] - other[1]) if other else 0.0,
        contributions=contributions,
        reason=wording.sentence(gains, contributions, ranking.novelty, gap=gap),
    )


def _effects(inputs: Inputs, evidence: Evidence, arms: Sequence[Arm]) -> Effects:
    first, second = inputs.names
    known = evidence.signatures
    moves = effects(known[first], known[second], evidence.base, arms)
    back = swap_effects(moves)
    return {
        first: {arm.label: each for arm, each in zip(arms, moves, strict=True)},
        second: {arm.swapped().label: each for arm, each in zip(arms, back, strict=True)},
    }


def _rank(
    task: Task,
    inputs: Inputs,
    evidence: Evidence,
    predictor: Predictor,
    arms: Sequence[Arm],
    moves: Effects,
) -> Ranking:
    """The arms for (expert, auxiliary, task); an arm's first model is the expert."""
    (auxiliary,) = [name for name in inputs.names if name != task.expert]
    known = evidence.signatures
    pair = features(known[task.expert], known[auxiliary], evidence.base, task.name)
    return predictor.predict(
        pair,
        task=task.name,
        arms=arms,
        effects=moves.get(task.expert, {}),
        parameters=inputs.parameters,
    )
