"""Two models -> the arms they may be merged with, in order.

Each task's ranking sees its expert first. Here all are seen in the order of the plan's models, and
gains become utilities.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import ARMS, FED_ARMS, Arm, find
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.ask.options import Ask
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.choice import Choice, Gap, Order, model_alone
from simmerge_hub.planning.evidence import Evidence, why_unfed
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.tree import join, leaf
from simmerge_hub.planning.trying.exploration import add_arms, explore
from simmerge_hub.planning.verdict import Standing, Verdict, reasons, worst
from simmerge_hub.selector.predictor import wording
from simmerge_hub.selector.predictor.predictor import NOT_ASKED, Predictor
from simmerge_hub.selector.predictor.ranking import Prediction, Ranking
from simmerge_hub.selector.predictor.trust import Trust, combine
from simmerge_hub.signatures.merged.effects import effects, swap_effects

ALIKE = "the two models are equally good at it, and so is any merge of them"
"""What is said of a task on which there is nothing to gain."""

UNBALANCED = "favours one model, and --balanced leaves such merges out"

Rankings = Mapping[str, Ranking]
"""By task."""
Predictions = Mapping[str, Mapping[str, Prediction]]
"""Label of an arm -> task -> what is predicted."""
Effects = Mapping[str, Mapping[str, np.ndarray]]
"""Expert -> arm label, seen from it -> what the arm does to the pair."""


def judge_pair(inputs: Inputs, evidence: Evidence, predictor: Predictor, ask: Ask) -> Verdict:
    """Every arm that may merge two signed models, best first.

    Args:
        inputs: the two models; who is the expert for each task is known.
        evidence: their signatures.
        predictor: of gains.
        ask: what the arms are ordered by, and the bandit whose suggestion comes first.

    Raises:
        PredictorError: no arm is left on every task.
        ObjectiveError: no arm keeps what must be kept.
    """
    bandit = ask.sources.bandit
    unfed = why_unfed(inputs, evidence)
    arms, unusable = candidates(predictor, ask, unfed=unfed)
    if bandit is not None:
        arms = add_arms(arms, bandit)
        arms = tuple(arm for arm in arms if not (unfed and find(arm.operator).activations))
    reads = predictor.reads_effects(arms)
    moves = _effects(inputs, evidence, arms) if reads or bandit is not None else {}
    rankings = {
        task.name: predictor.predict(
            evidence.compare(task.expert, inputs.partner(task.expert), task.name),
            task=task.name,
            arms=arms,
            effects=moves[task.expert] if reads else {},
            parameters=inputs.parameters,
        )
        for task in inputs.tasks
    }
    verdict = decide(inputs, rankings, ask.objective, final=not ask.tries)
    verdict = replace(verdict, left_out={**verdict.left_out, **unusable})
    return explore(verdict, bandit, inputs, evidence, moves) if bandit is not None else verdict


def candidates(
    predictor: Predictor, ask: Ask, *, unfed: str = ""
) -> tuple[tuple[Arm, ...], dict[str, str]]:
    """The arms that two models may be merged with, and those that cannot be used, with the reason.

    What sampled rows do not tell of is predicted only by a predictor that was trained on it; what
    looks at activations needs prompts (`unfed`: why there are none that help).
    """
    known = [
        arm for arm in (*ARMS, *FED_ARMS) if arm in predictor.arms or find(arm.operator).on_samples
    ]
    every = [arm for arm in known if not ask.search.balanced or arm == arm.swapped()]
    if not unfed:
        return tuple(every), {}
    fed = [arm for arm in every if find(arm.operator).activations]
    return tuple(arm for arm in every if arm not in fed), {arm.label: unfed for arm in fed}


def decide(
    inputs: Inputs, rankings: Rankings, objective: Objective, *, final: bool = True
) -> Verdict:
    """One ranking per task -> one verdict.

    Args:
        inputs: the two models, and the tasks.
        rankings: task -> its ranking, in which an arm's first model is the task's expert.
        objective: what the arms are ordered by; those that keep too little come last.
        final: whether nothing is tried after it, so that the first must keep what must be kept.
    """
    objective.check(rankings)
    order = Order(objective=objective, caution=0.0)
    rankings = {t.name: _orient(rankings[t.name], t, inputs.names) for t in inputs.tasks}
    gaps = pair_gaps(inputs)
    predictions = _join_tasks(rankings)
    choices = order.sort(_choices(inputs.names, predictions, gaps))
    trust = _trust(inputs, rankings, _leads(choices, predictions, gaps, objective))
    because: tuple[str, ...] = ()
    if final and (trust is None or trust.followed):
        because = reasons(
            choices, order, [model_alone(name, inputs.known) for name in inputs.names]
        )
    if trust is not None:
        because = (*because, *_grounds(trust, objective))
        choices.sort(key=lambda choice: choice.label != trust.chosen)
    left_out = _rejections(rankings)
    return Verdict(
        choices=tuple(choices),
        status=worst([ranking.status for ranking in rankings.values()]),
        because=because,
        objective=objective,
        standings={task: _standing(each, gaps[task]) for task, each in rankings.items()},
        left_out={label: why for label, why in left_out.items() if label not in predictions},
        trust=trust,
    )


def pair_gaps(inputs: Inputs) -> dict[str, Gap]:
    """Task -> what its expert is ahead of the other of two models."""
    return {
        task.name: Gap(level=task.relative.get(inputs.partner(task.expert), 0.0))
        for task in inputs.tasks
    }


def _orient(ranking: Ranking, task: Task, names: Sequence[str]) -> Ranking:
    """A ranking whose arms have the task's expert first, in the order of the plan's models."""
    if task.expert == names[0]:
        return ranking
    return replace(
        ranking,
        kept=tuple(replace(each, arm=each.arm.swapped()) for each in ranking.kept),
        rejected=tuple((arm.swapped(), why) for arm, why in ranking.rejected),
    )


def _join_tasks(rankings: Rankings) -> Predictions:
    """The arms that are predicted for every task."""
    predictions: dict[str, dict[str, Prediction]] = {}
    for task, ranking in rankings.items():
        for each in ranking.kept:
            predictions.setdefault(each.arm.label, {})[task] = each
    whole = {arm: own for arm, own in predictions.items() if len(own) == len(rankings)}
    if not whole:
        raise PredictorError(
            "no operator is left that can be predicted for every task",
            hint="plan for fewer tasks: --expert TASK=MODEL names them",
        )
    return whole


def _choices(
    names: Sequence[str], predictions: Predictions, gaps: Mapping[str, Gap]
) -> list[Choice]:
    """The arms as merges of the two models, with their utilities."""
    return [
        Choice(
            tree=join(next(iter(own.values())).arm, *map(leaf, names)),
            beliefs={task: gaps[task].belief(each.gain, each.width) for task, each in own.items()},
            label=label,
        )
        for label, own in predictions.items()
    ]


def _leads(
    choices: Sequence[Choice],
    predictions: Predictions,
    gaps: Mapping[str, Gap],
    objective: Objective,
) -> dict[str, float]:
    """Label -> by how much the first is ahead: in what must be kept, else in the objective's gain.

    Of a task on which the models do not differ, no arm gains anything.
    """

    def gain(label: str) -> float:
        own = {t: each.gain if gaps[t].size else 0.0 for t, each in predictions[label].items()}
        return objective.value({task: (value, value, value) for task, value in own.items()})[0]

    first = choices[0].label
    lacks = {c.label: math.fsum(objective.missing(c.spreads()).values()) for c in choices}
    more = {label: lack - lacks[first] for label, lack in lacks.items()}
    return {label: more[label] if more[label] > 0 else gain(first) - gain(label) for label in more}


def _trust(inputs: Inputs, rankings: Rankings, leads: Mapping[str, float]) -> Trust | None:
    """Whether the first is taken, by the held-out pairs at least as far as the farthest task."""
    grounds = [each.grounds for each in rankings.values() if each.grounds is not None]
    both = len({task.expert for task in inputs.tasks}) > 1
    return combine(grounds).weigh(list(leads), leads, both=both) if grounds else None


def _grounds(trust: Trust, objective: Objective) -> tuple[str, ...]:
    """What the choice stands on, in sentences without their full stops."""
    asked = not trust.followed and (bool(objective.keep) or objective != MEAN)
    unknown = ("Whether it meets the objective is not known",) if asked else ()
    return (*trust.because, *unknown)


def _rejections(rankings: Rankings) -> dict[str, str]:
    """Arms and why; those that were not asked for favour one model."""
    return {
        arm.label: UNBALANCED if why == NOT_ASKED else why
        for ranking in rankings.values()
        for arm, why in ranking.rejected
    }


def _standing(ranking: Ranking, gap: Gap) -> Standing:
    """What is best for one task alone, and why, in utilities."""
    if not gap.size:
        return Standing(novelty=ranking.novelty, usual=ranking.usual, reason=ALIKE)
    gains = [(each.arm.label, each.gain) for each in ranking.kept]
    contributions = tuple(replace(c, lead=gap.size * c.lead) for c in ranking.contributions)
    other = wording.rival(gains)
    return Standing(
        novelty=ranking.novelty,
        usual=ranking.usual,
        best=(gains[0][0], gap.belief(ranking.best.gain, ranking.best.width).spread()),
        next_best=other[0] if other else "",
        lead=gap.size * (gains[0][1] - other[1]) if other else 0.0,
        contributions=contributions,
        reason=wording.sentence(gains, contributions, ranking.novelty, gap=gap.size),
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
