"""Models in, a Plan out: which operator to merge them with, what to expect, and why.

Everything here is prediction: no model is merged and none evaluated.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from simmerge_hub.errors import AlignmentError, ObjectiveError, ProbeError
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.merger import common_dtype
from simmerge_hub.operators import Arm
from simmerge_hub.planning.choice import Choice, Decision, decide
from simmerge_hub.planning.exploration import explored
from simmerge_hub.planning.inference import informed
from simmerge_hub.planning.objective import MEAN, Objective
from simmerge_hub.planning.tasks import Task, tasks_of
from simmerge_hub.recipe import Recipe, Step, check, dump_yaml, sealed, source
from simmerge_hub.selector import origin
from simmerge_hub.selector.predictor import NOT_ASKED, Contribution, Predictor, Ranking
from simmerge_hub.signatures.effects import effects, seen_from_the_other
from simmerge_hub.signatures.features import features
from simmerge_hub.signatures.probe import ProbeSet, probe_set
from simmerge_hub.signatures.shared import signed
from simmerge_hub.signatures.signature import Request, Signature, Signed
from simmerge_hub.weights.align import aligned
from simmerge_hub.weights.lineage import common_base

Progress = Callable[[str], None]
"""Called with what is being done now, for people to read."""


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

        `evidence` holds, by task, the features that decided and what each adds to the lead.
        """
        return {
            **self.why(),
            "recipe": self.recipe.to_yaml(),
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
            hint="plan two, push the merge, and plan it with the third",
        )
    if bandit is not None and objective != MEAN:
        raise ObjectiveError(
            "a bandit tries the best arm for the mean over tasks, and another objective is named",
            hint="leave out --bandit, or --objective, --weight and --keep",
        )
    trained = origin.find(predictor)
    say("reading headers")
    checkpoints = [resolve(model) for model in models]
    _check_names(checkpoints, None)
    found = common_base(checkpoints, base)
    _check_names(checkpoints, found)
    aligned(checkpoints, found)
    tasks, dropped = tasks_of(checkpoints, experts, probes, infer)
    objective.check([task.name for task in tasks])
    wanted = _probed(tasks, signals)
    probe_sets = {task.name: probe_set(task.name, task.probes) for task in wanted}
    sign = partial(signed, third_parties=signatures, note=note)
    made = _signatures(checkpoints, found, tuple(probe_sets.values()), sign, say)
    say("predicting")
    known = {name: each.signature for name, each in made.items()}
    tasks, unclear = informed(tasks, [m.name for m in checkpoints], known)
    arms = objective.candidates([task.name for task in tasks])
    told = _told(checkpoints, found, known, trained.predictor, arms)
    rankings = {
        t.name: _rank(t, checkpoints, found, known, trained.predictor, arms, told[t.expert])
        for t in tasks
    }
    decision = decide(rankings, {t.name: t.expert == checkpoints[0].name for t in tasks}, objective)
    if bandit is not None:
        say("asking the bandit")
        decision = explored(decision, bandit, tasks, checkpoints, found, known)
    return Plan(
        recipe=_recipe(checkpoints, found, decision),
        tasks=tasks,
        probes=probe_sets,
        decision=decision,
        left_out={**dropped, **unclear, **_named(decision.rejected)},
        predictor=trained.predictor.training,
        predictor_from=trained.origin,
        coverage=1 - trained.predictor.alpha,
        signatures={name: each.origins for name, each in made.items()},
    )


def _probed(tasks: Sequence[Task], signals: str) -> Sequence[Task]:
    """The tasks whose probes are run."""
    if signals == "full":
        return tasks
    for task in tasks:
        if task.probability is not None:
            raise ProbeError(
                f"the expert for {task.name} is inferred from probes, and none are run",
                hint=f"name it with --expert {task.name}=MODEL, or leave out --signals structural",
            )
    return ()


def _check_names(models: Sequence[Checkpoint], base: Checkpoint | None) -> None:
    """Names tell inputs apart in recipes and tables, so each may be given once."""
    seen: dict[str, Checkpoint] = {}
    for checkpoint in [*models, *([base] if base else [])]:
        other = seen.setdefault(checkpoint.name, checkpoint)
        if other is not checkpoint and other.location == checkpoint.location:
            what = "the base of the other" if checkpoint is base else "given twice"
            raise AlignmentError(
                f"{checkpoint.ref} is {what}: there is nothing to merge",
                hint="name two different fine-tunes",
            )
        if other is not checkpoint:
            raise AlignmentError(
                f"{other.ref} and {checkpoint.ref} are both called {checkpoint.name}",
                hint="rename one of them, or push it to a repository of another name",
            )


def _signatures(
    models: Sequence[Checkpoint],
    base: Checkpoint | None,
    probe_sets: tuple[ProbeSet, ...],
    sign: Callable[..., Signed],
    say: Progress,
) -> dict[str, Signed]:
    """Name -> signature of every model and of the base."""
    found: dict[str, Signed] = {}
    for checkpoint in [*models, *([base] if base else [])]:
        say(f"signing {checkpoint.name}")
        found[checkpoint.name] = sign(
            Request(checkpoint=checkpoint, base=base, probe_sets=probe_sets),
            progress=lambda what, done, total: say(f"{what} ({done}/{total})"),
        )
    return found


def _told(
    models: Sequence[Checkpoint],
    base: Checkpoint | None,
    signatures: Mapping[str, Signature],
    trained: Predictor,
    arms: Sequence[Arm],
) -> dict[str, Mapping[str, np.ndarray]]:
    """Name of the expert -> arm label -> what the arm does to the pair, if the predictor asks."""
    first, second = (m.name for m in models)
    if not trained.reads_effects(arms):
        return {first: {}, second: {}}
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
