"""Models in, a Plan out: which operator to merge them with, what to expect, and why.

Everything here is prediction: no model is merged and none evaluated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.merger import common_dtype
from simmerge_hub.operators import BALANCED
from simmerge_hub.planning.choice import Choice, Decision, decide
from simmerge_hub.planning.tasks import Task, tasks_of
from simmerge_hub.recipe import Recipe, Step, check, dump_yaml, sealed, source
from simmerge_hub.selector import archive
from simmerge_hub.selector.predictor import Predictor, Ranking
from simmerge_hub.signatures.features import features
from simmerge_hub.signatures.probe import ProbeSet, probe_set
from simmerge_hub.signatures.shared import signed
from simmerge_hub.signatures.signature import Request, Signature, Signed
from simmerge_hub.weights.align import aligned
from simmerge_hub.weights.lineage import common_base

Progress = Callable[[str], None]
"""Called with what is being done now, for people to read."""
DEFAULT_PREDICTOR = "default.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to merge and how, what it should give, and what was decided against.

    `decision` ranks the arms; `left_out` maps tasks and arms that were dropped to the reason;
    `predictor` is the digest of the predictor's training data. `signatures` says where they came
    from: model -> `weights` or a task -> `cache`, `computed` or a repository.
    """

    recipe: Recipe
    tasks: tuple[Task, ...]
    probes: Mapping[str, ProbeSet]
    decision: Decision
    left_out: Mapping[str, str]
    predictor: str
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
            "reason": self.decision.reason,
            "coverage": self.coverage,
            "predictor": self.predictor,
            "tasks": [self._task(task) for task in self.tasks],
            "predictions": [_prediction(choice) for choice in self.decision.choices],
            "left_out": dict(self.left_out),
        }
        return sealed(facts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for programs: the `why`, the recipe as YAML text, the signatures' origins."""
        origins = {name: dict(parts) for name, parts in self.signatures.items()}
        return {**self.why(), "recipe": self.recipe.to_yaml(), "signatures": origins}

    def _task(self, task: Task) -> dict[str, Any]:
        found: dict[str, Any] = {"task": task.name, "expert": task.expert, "probes": "none"}
        if task.name in self.probes:
            probes = self.probes[task.name]
            found |= {"probes": probes.source, "digest": probes.digest}
        return {**found, "scores": dict(task.scores)}


def plan(
    *models: str,
    base: str | None = None,
    experts: Mapping[str, str] | None = None,
    probes: Mapping[str, str] | None = None,
    predictor: str | Path | None = None,
    signals: Literal["full", "structural"] = "full",
    signatures: Sequence[str] = (),
    progress: Progress | None = None,
    note: Progress | None = None,
) -> Plan:
    """Predict how to merge two models.

    Args:
        models: two references: `org/name[@revision]` or a folder; adapters count as models.
        base: the model they were fine-tuned from, if their cards do not say.
        experts: task -> which of the models is good at it, if their cards have no scores.
        probes: task -> `org/dataset[:split[:column]]` or a file of prompts.
        predictor: a predictor file; the one in the package by default.
        signals: "structural" reads a few byte ranges of the weights and runs no probes: nothing is
            downloaded whole, and intervals are wider.
        signatures: repositories of others to take signatures from, `org/name`; spot-checked.
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
    trained = archive.load(Path(predictor or packaged_predictor()))
    say("reading headers")
    checkpoints = [resolve(model) for model in models]
    _check_names(checkpoints, None)
    found = common_base(checkpoints, base)
    _check_names(checkpoints, found)
    aligned(checkpoints, found)
    tasks, dropped = tasks_of(checkpoints, experts, probes)
    wanted = tasks if signals == "full" else ()
    probe_sets = {task.name: probe_set(task.name, task.probes) for task in wanted}
    sign = partial(signed, third_parties=signatures, note=note)
    made = _signatures(checkpoints, found, tuple(probe_sets.values()), sign, say)
    say("predicting")
    known = {name: each.signature for name, each in made.items()}
    rankings = {t.name: _rank(t, checkpoints, found, known, trained) for t in tasks}
    decision = decide(rankings, {t.name: t.expert == checkpoints[0].name for t in tasks})
    return Plan(
        recipe=_recipe(checkpoints, found, decision),
        tasks=tasks,
        probes=probe_sets,
        decision=decision,
        left_out={**dropped, **decision.rejected},
        predictor=trained.training,
        coverage=1 - trained.alpha,
        signatures={name: each.origins for name, each in made.items()},
    )


def packaged_predictor() -> Path:
    """The predictor a plan uses by default."""
    return Path(str(files("simmerge_hub.selector").joinpath(DEFAULT_PREDICTOR)))


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


def _rank(
    task: Task,
    models: Sequence[Checkpoint],
    base: Checkpoint | None,
    signatures: Mapping[str, Signature],
    trained: Predictor,
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
    return trained.predict(measured, task=task.name, arms=BALANCED, parameters=entries)


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


def _prediction(choice: Choice) -> dict[str, Any]:
    return {
        "arm": choice.arm.label,
        "mean": _rounded((choice.utility, choice.low, choice.high)),
        "tasks": {task: _rounded(values) for task, values in choice.tasks.items()},
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]
