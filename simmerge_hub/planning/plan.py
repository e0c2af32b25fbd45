"""Models in, a Plan out: which operator to merge them with, what to expect, and why.

Everything here is prediction: no model is merged and none evaluated.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from simmerge_hub.errors import AlignmentError, ObjectiveError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger import common_dtype
from simmerge_hub.operators import Arm
from simmerge_hub.planning.choice import Choice, Decision, decide
from simmerge_hub.planning.evidence import Evidence, Inputs, Progress, gathered, measured
from simmerge_hub.planning.exploration import explored, with_its_arms
from simmerge_hub.planning.inference import informed
from simmerge_hub.planning.objective import MEAN, Objective
from simmerge_hub.planning.tasks import Task
from simmerge_hub.recipe import Recipe, Step, check, dump_yaml, sealed, source
from simmerge_hub.selector import origin
from simmerge_hub.selector.origin import Trained
from simmerge_hub.selector.predictor import NOT_ASKED, Predictor
from simmerge_hub.selector.ranking import Contribution, Ranking
from simmerge_hub.signatures.effects import effects, seen_from_the_other
from simmerge_hub.signatures.features import features
from simmerge_hub.signatures.probe import ProbeSet
from simmerge_hub.signatures.signature import Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to merge and how, what it should give, and what was decided against.

    `decision` ranks the arms; `left_out` maps tasks and arms that were dropped to the reason;
    `predictor` is the digest of the predictor's training data, `predictor_from` where it was read:
    `the package`, `a local file` or `org/name@commit`. `signatures` says where they came
    from: model -> `weights` or a task -> `cache`, `computed` or a repository.
    """

    recipe: Recipe
    tasks: tuple[Task, ...]
    probes: Mapping[str, ProbeSet]
    decision: Decision
    left_out: Mapping[str, str]
    predictor: str
    predictor_from: str
    coverage: float
    signatures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def best(self) -> Choice:
        """The choice the recipe runs."""
        return self.decision.best

    def explain(self) -> str:
        """How far to believe it, and why this arm."""
        return f"{self.decision.status}: {self.decision.reason}"

    def to_yaml(self) -> str:
        """The recipe with its `why:`, as plan.yaml holds it."""
        return self.recipe.to_yaml() + dump_yaml({"why": self.why()})

    def why(self) -> dict[str, Any]:
        """What was predicted and from what, as plain data; `recipe` ties it to its recipe."""
        facts = {
            "recipe": self.recipe.fingerprint,
            "choice": self.best.arm.label,
            "status": self.decision.status,
            "objective": self.decision.objective.to_dict([task.name for task in self.tasks]),
            "reason": self.decision.reason,
            "coverage": self.coverage,
            "predictor": self.predictor,
            "predictor_from": self.predictor_from,
            "tasks": [self._task(task) for task in self.tasks],
            "predictions": [_prediction(choice) for choice in self.decision.choices],
            "left_out": dict(self.left_out),
        }
        return sealed(facts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for programs: the `why`, the recipe as YAML text, the signatures' origins.

        `evidence` holds, by task, the features that decided and what each adds to the lead; `trust`
        whether the ranking is followed, its lead over the safe arm, and the error of such leads;
        `suggested`, by task, under which id a bandit is told what the merge gains.
        """
        return {
            **self.why(),
            "recipe": self.recipe.to_yaml(),
            "suggested": dict(self.decision.suggested),
            "trust": _trust(self.decision),
            "signatures": {name: dict(parts) for name, parts in self.signatures.items()},
            "evidence": {
                task: [_evidence(each) for each in ranking.contributions]
                for task, ranking in self.decision.rankings.items()
            },
        }

    def _task(self, task: Task) -> dict[str, Any]:
        found: dict[str, Any] = {"task": task.name, "expert": task.expert, "probes": "none"}
        if task.name in self.probes:
            probes = self.probes[task.name]
            found |= {"probes": probes.source, "digest": probes.digest}
        if task.probability is not None:
            found["probability"] = round(task.probability, 4)
        novelty = _novelty(self.decision.rankings[task.name])
        return {**found, "scores": dict(task.scores), "novelty": novelty}


def plan(
    *models: str,
    base: str | None = None,
    experts: Mapping[str, str] | None = None,
    probes: Mapping[str, str] | None = None,
    infer: Sequence[str] = (),
    objective: Objective = MEAN,
    predictor: str | Path | None = None,
    signals: Literal["full", "structural"] = "full",
    signatures: Sequence[str] = (),
    bandit: str | None = None,
    progress: Progress | None = None,
    note: Progress | None = None,
) -> Plan:
    """Predict how to merge two models.

    Args:
        models: two references: `org/name[@revision]` or a folder; adapters count as models.
        base: the model they were fine-tuned from, if their cards do not say.
        experts: task -> which of the models is good at it, if their cards have no scores.
        probes: task -> `org/dataset[:split[:column]]` or a file of prompts.
        infer: tasks whose expert is inferred from their probes, with a probability.
        objective: what the arms are judged by; the mean over tasks by default.
        predictor: a file or `org/name[@revision]`; the one in the package by default.
        signals: "structural" reads a few byte ranges of the weights and runs no probes: nothing is
            downloaded whole, and intervals are wider.
        signatures: repositories of others to take signatures from, `org/name`; spot-checked.
        bandit: a folder or `org/name` of a bandit, which may try another arm to learn from it; it
            knows no objective but the mean over tasks.
        progress: told what is being done.
        note: told what should be kept: bytes to download, signatures that are not believed.

    Raises:
        SimmergeError: the models cannot be merged, or there is nothing to predict from.
    """
    say = progress or (lambda _: None)
    if len(models) != 2:
        raise AlignmentError(
            f"a plan takes two models, and {len(models)} are given",
            hint="plan_many plans three or more: simmerge-hub plan A B C",
        )
    if bandit is not None and objective != MEAN:
        raise ObjectiveError(
            "a bandit tries the best arm for the mean over tasks, and another objective is named",
            hint="leave out --bandit, or --objective, --weight and --keep",
        )
    trained = origin.find(predictor)
    say("reading headers")
    inputs = gathered(models, base, experts, probes, infer)
    objective.check([task.name for task in inputs.tasks])
    evidence = measured(inputs, signals=signals, signatures=signatures, progress=say, note=note)
    say("predicting")
    return predicted(inputs, evidence, trained, objective, bandit=bandit)


def predicted(
    inputs: Inputs,
    evidence: Evidence,
    trained: Trained,
    objective: Objective,
    *,
    bandit: str | None = None,
) -> Plan:
    """The plan of two models that are signed; the arguments are those of `plan`."""
    checkpoints, found, known = inputs.models, inputs.base, evidence.signatures
    tasks, unclear = informed(inputs.tasks, inputs.names, known)
    arms = objective.candidates([task.name for task in tasks])
    if bandit is not None:
        arms = with_its_arms(arms, bandit)
    reads = trained.predictor.reads_effects(arms)
    told = _told(checkpoints, found, known, arms) if reads or bandit is not None else {}
    rankings = {
        t.name: _rank(
            t, checkpoints, found, known, trained.predictor, arms, told[t.expert] if reads else {}
        )
        for t in tasks
    }
    decision = decide(rankings, {t.name: t.expert == checkpoints[0].name for t in tasks}, objective)
    if bandit is not None:
        decision = explored(decision, bandit, tasks, checkpoints, found, known, told)
    return Plan(
        recipe=_recipe(checkpoints, found, decision),
        tasks=tasks,
        probes=evidence.probes,
        decision=decision,
        left_out={**inputs.dropped, **unclear, **_named(decision.rejected)},
        predictor=trained.predictor.training,
        predictor_from=trained.origin,
        coverage=1 - trained.predictor.alpha,
        signatures=evidence.origins,
    )


def _told(
    models: Sequence[Checkpoint],
    base: Checkpoint | None,
    signatures: Mapping[str, Signature],
    arms: Sequence[Arm],
) -> dict[str, Mapping[str, np.ndarray]]:
    """Name of the expert -> arm label -> what the arm does to the pair."""
    first, second = (m.name for m in models)
    found = effects(
        signatures[first], signatures[second], signatures[base.name] if base else None, arms
    )
    back = seen_from_the_other(found)
    return {
        first: {arm.label: each for arm, each in zip(arms, found, strict=True)},
        second: {arm.swapped().label: each for arm, each in zip(arms, back, strict=True)},
    }


def _rank(
    task: Task,
    models: Sequence[Checkpoint],
    base: Checkpoint | None,
    signatures: Mapping[str, Signature],
    trained: Predictor,
    arms: Sequence[Arm],
    told: Mapping[str, np.ndarray],
) -> Ranking:
    """The arms for (expert, auxiliary, task); an arm's first model is the expert."""
    (auxiliary,) = [m.name for m in models if m.name != task.expert]
    measured = features(
        signatures[task.expert],
        signatures[auxiliary],
        signatures[base.name] if base else None,
        task.name,
    )
    whole = base or models[0]
    entries = sum(h.entries for h in whole.tensors.values()) if whole.kind == "full" else None
    return trained.predict(measured, task=task.name, arms=arms, effects=told, parameters=entries)


def _recipe(models: Sequence[Checkpoint], base: Checkpoint | None, decision: Decision) -> Recipe:
    arm = decision.best.arm
    step = Step(
        operator=arm.operator, models=tuple(m.name for m in models), parameters=arm.parameters
    )
    recipe = Recipe(
        base=source(base) if base else None,
        models=tuple(source(m) for m in models),
        steps=(step,),
        dtype=common_dtype(base or models[0]),
    )
    check(recipe, "the plan")
    return recipe


def _named(rejected: Mapping[str, str]) -> dict[str, str]:
    """Arms and why they are rejected: those that were no candidates favour one model."""
    why = "favours one model; a candidate with --weight or --keep"
    return {arm: why if said == NOT_ASKED else said for arm, said in rejected.items()}


def _prediction(choice: Choice) -> dict[str, Any]:
    found: dict[str, Any] = {
        "arm": choice.arm.label,
        "score": _rounded((choice.utility, choice.low, choice.high)),
        "tasks": {task: _rounded(values) for task, values in choice.tasks.items()},
        "pareto": choice.pareto,
    }
    if choice.missing:
        found["missing"] = {task: round(lack, 4) for task, lack in choice.missing.items()}
    return found


def _novelty(ranking: Ranking) -> dict[str, Any]:
    """How far the pair is from the training data, beside what is usual there."""
    found, usual = ranking.novelty, ranking.usual
    facts = {"status": found.status, "outside": found.outside, "distance": found.distance}
    if usual is not None:
        facts |= {"usual_outside": usual.outside, "usual_distance": usual.distance}
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in facts.items()}


def _trust(decision: Decision) -> dict[str, Any]:
    """Whether the ranking is followed, and by what; an error nothing is known of is None."""
    found = decision.trust
    if found is None:
        return {}
    facts = asdict(found)
    error = round(found.error, 4) if math.isfinite(found.error) else None
    return facts | {"lead": round(found.lead, 4), "error": error}


def _evidence(found: Contribution) -> dict[str, Any]:
    """One feature of those that decided; a missing value is None."""
    return {
        "feature": found.feature,
        "says": found.says,
        "value": None if math.isnan(found.value) else found.value,
        "lead": round(found.lead, 4),
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]
