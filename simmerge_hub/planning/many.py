"""Three or more models in, a plan out: which of them, in which order, with which operators.

Everything here is prediction: nothing is evaluated, and nothing is merged unless the user lets the
most promising merges be tried on the probes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger import common_dtype
from simmerge_hub.planning import verdict
from simmerge_hub.planning.evidence import Evidence, Inputs, Progress, gathered, measured
from simmerge_hub.planning.forecast import Candidate, Forecast
from simmerge_hub.planning.objective import MEAN, Objective, Spread
from simmerge_hub.planning.search import BEAM, SearchOptions, leaned, search
from simmerge_hub.planning.tasks import Task
from simmerge_hub.planning.trees import Tree, drawn, steps
from simmerge_hub.planning.trial import Run, run_merge, tried
from simmerge_hub.recipe import Recipe, check, dump_yaml, sealed, source
from simmerge_hub.selector import origin
from simmerge_hub.selector.novelty import Novelty
from simmerge_hub.selector.origin import Trained
from simmerge_hub.selector.status import Status
from simmerge_hub.signatures.features import NAMES, SCHEMA
from simmerge_hub.signatures.probe import ProbeSet
from simmerge_hub.signatures.sketch import Sketch

BEATEN = "merges of two others are predicted to do better than any of two with it"
SHOWN = 10
"""Plans that are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyPlan:
    """Which of many models to merge and how, and what was decided against.

    Args:
        recipe: the chosen tree, with the chosen models only.
        tasks: of all models that were given.
        probes: task -> what was run.
        candidates: the best trees, best first; what each is expected to reach on every task.
        parts: label of a merge inside the chosen tree -> what is expected of it.
        status: how far its most unfamiliar pair is believed (`selector.status`); `abstained`: the
            safe operator merges all experts at once.
        because: why the first is first.
        objective: what was wanted.
        left_out: tasks and models that were dropped, with the reason.
        novelty: task -> the most unfamiliar pair of models.
        predictor, predictor_from: as of a plan of two.
        coverage: what share of outcomes the intervals would hold if they were calibrated.
        signatures: where they came from.
        tried: labels of the merges that were really made and run on the probes.
        scored: how many merges were predicted.
        seconds: how long that and the merges that were tried took; signing is not counted.
    """

    recipe: Recipe
    tasks: tuple[Task, ...]
    probes: Mapping[str, ProbeSet]
    candidates: tuple[Candidate, ...]
    parts: Mapping[str, Candidate]
    status: Status
    because: tuple[str, ...]
    objective: Objective
    left_out: Mapping[str, str]
    novelty: Mapping[str, Novelty]
    predictor: str
    predictor_from: str
    coverage: float
    signatures: Mapping[str, Mapping[str, str]]
    tried: tuple[str, ...]
    scored: int
    seconds: float

    @property
    def best(self) -> Candidate:
        """The candidate the recipe runs."""
        return self.candidates[0]

    @property
    def tree(self) -> list[str]:
        """The chosen tree as lines of text, with what every merge in it is expected to reach."""
        own = {task.expert: task.name for task in self.tasks}
        notes = {model: f"({task})" for model, task in own.items()}
        for label, candidate in self.parts.items():
            held = [t.name for t in self.tasks if t.expert in candidate.tree.models]
            told = (f"{name} {candidate.beliefs[name].mean:.2f}" for name in held)
            notes[label] = f"→ {', '.join(told)}" if held else ""
        return drawn(self.best.tree, notes)

    def explain(self) -> str:
        """How far to believe it, and why this tree."""
        return f"{self.status}: {'. '.join(self.because)}"

    def to_yaml(self) -> str:
        """The recipe with its `why:`, as plan.yaml holds it."""
        return self.recipe.to_yaml() + dump_yaml({"why": self.why()})

    def why(self) -> dict[str, Any]:
        """What was predicted and from what, as plain data; `recipe` ties it to its recipe."""
        return sealed(
            {
                "recipe": self.recipe.fingerprint,
                "choice": self.best.tree.label,
                "status": self.status,
                "objective": self.objective.to_dict([task.name for task in self.tasks]),
                "reason": ". ".join(self.because) + ".",
                "coverage": self.coverage,
                "predictor": self.predictor,
                "predictor_from": self.predictor_from,
                "tasks": [self._task(task) for task in self.tasks],
                "predictions": [self._prediction(each) for each in self.candidates[:SHOWN]],
                "tree": self.tree,
                "tried": list(self.tried),
                "steps": self._steps(),
                "left_out": dict(self.left_out),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for programs: the `why`, the recipe as YAML text, the signatures' origins."""
        return {
            **self.why(),
            "recipe": self.recipe.to_yaml(),
            "signatures": {name: dict(parts) for name, parts in self.signatures.items()},
            "scored": self.scored,
            "seconds": round(self.seconds, 3),
        }

    def value(self, candidate: Candidate) -> Spread:
        """What a candidate is judged by, with bounds made of its tasks' bounds."""
        return self.objective.value(candidate.spreads())

    def _steps(self) -> list[dict[str, Any]]:
        """For every step of the recipe, what its merge is expected to reach on its own tasks."""
        found = []
        for step, merge in zip(self.recipe.steps, self.best.tree.merges, strict=True):
            own = [t.name for t in self.tasks if t.expert in merge.models]
            spreads = self.parts[merge.label].spreads()
            found.append({"step": step.name, "tasks": {t: _rounded(spreads[t]) for t in own}})
        return found

    def _task(self, task: Task) -> dict[str, Any]:
        found: dict[str, Any] = {"task": task.name, "expert": task.expert, "probes": "none"}
        if task.name in self.probes:
            probes = self.probes[task.name]
            found |= {"probes": probes.source, "digest": probes.digest}
        novelty = self.novelty[task.name]
        far = {"status": novelty.status, "distance": round(novelty.distance, 4)}
        return {**found, "scores": dict(task.scores), "novelty": far}

    def _prediction(self, candidate: Candidate) -> dict[str, Any]:
        return {
            "arm": candidate.tree.label,
            "score": _rounded(self.value(candidate)),
            "tasks": {task: _rounded(spread) for task, spread in candidate.spreads().items()},
            "pareto": verdict.on_the_front(candidate, self.candidates),
        }


def plan_many(
    *models: str,
    base: str | None = None,
    experts: Mapping[str, str] | None = None,
    probes: Mapping[str, str] | None = None,
    objective: Objective = MEAN,
    least: int = 2,
    most: int | None = None,
    beam: int = BEAM,
    step_weights: Literal["even", "predicted"] = "even",
    probe_intermediates: int = 0,
    predictor: str | Path | None = None,
    signals: Literal["full", "structural"] = "full",
    signatures: Sequence[str] = (),
    progress: Progress | None = None,
    note: Progress | None = None,
) -> ManyPlan:
    """Predict which of three or more models to merge, in which order, with which operators.

    Args:
        models: references: `org/name[@revision]` or folders; adapters count as models.
        base: the model they were fine-tuned from, if their cards do not say.
        experts: task -> which of the models is good at it, if their cards have no scores.
        probes: task -> `org/dataset[:split[:column]]` or a file of prompts.
        objective: what trees are judged by; a task whose expert is left out counts too.
        least, most: how many models the merge may have; at least two, at most all.
        beam: intermediates of a subset that are built upon, with four models or more; 0: all.
        step_weights: `even`: the parts of a step count alike, or by their numbers of models;
            `predicted`: of the best trees, weights from 0.3 to 0.7 are tried in the last step.
        probe_intermediates: so many of the best merges are really made, one at a time in a
            temporary folder (`TMPDIR`), and run on the probes, before one is chosen; still nothing
            is evaluated.
        predictor, signals, signatures, progress, note: as of `plan`.

    Raises:
        SimmergeError: the models cannot be merged, or there is nothing to predict from.
    """
    say = progress or (lambda _: None)
    if len(models) < 3:
        raise AlignmentError(
            f"a plan of many takes three models or more, and {len(models)} are given",
            hint="two are planned by `plan`",
        )
    options = SearchOptions(
        least=least,
        most=most,
        beam=beam,
        step_weights=step_weights,
        probe_intermediates=probe_intermediates,
    )
    options.check_numbers(len(models))
    options.check_trials(signals)
    trained = origin.find(predictor)
    trained.predictor.check(NAMES, SCHEMA)
    say("reading headers")
    inputs = gathered(models, base, experts, probes)
    objective.check([task.name for task in inputs.tasks])
    evidence = measured(inputs, signals=signals, signatures=signatures, progress=say, note=note)
    say("predicting")
    return predicted(inputs, evidence, trained, objective, options, progress=say)


def predicted(
    inputs: Inputs,
    evidence: Evidence,
    trained: Trained,
    objective: Objective,
    options: SearchOptions,
    *,
    progress: Progress,
) -> ManyPlan:
    """The plan of three or more models that are signed."""
    began = perf_counter()
    checkpoints, found, known = inputs.models, inputs.base, evidence.signatures
    forecast = Forecast(
        predictor=trained.predictor,
        base=known[found.name] if found else None,
        models={name: known[name] for name in inputs.names},
        known={task.name: task.relative for task in inputs.tasks},
    )
    novelty = verdict.most_novel(forecast, inputs.tasks, found or checkpoints[0])
    beaten: dict[str, str] = {}
    if any(n.status == "abstained" for n in novelty.values()):
        experts = dict.fromkeys([*(task.expert for task in inputs.tasks), *inputs.names])
        ranked = [verdict.safe(forecast, list(experts)[: options.most])]
        because = verdict.abstained(ranked[0], novelty, trained.predictor)
    else:
        beaten = _narrow(forecast, objective, options)
        ranked = search(
            forecast, objective, least=options.least, most=options.most, beam=options.beam
        )
        if options.step_weights == "predicted":
            ranked = leaned(forecast, ranked, objective)
        if options.probe_intermediates:
            run = _runner(inputs, evidence, progress)
            ranked = tried(forecast, ranked, objective, options.probe_intermediates, run)
        because = verdict.reasons(ranked, objective, forecast)
    best = ranked[0]
    return ManyPlan(
        recipe=_recipe(checkpoints, found, best.tree),
        tasks=inputs.tasks,
        probes=evidence.probes,
        candidates=tuple(ranked),
        parts={m.label: forecast.seen.get(m.label, best) for m in best.tree.merges},
        status=verdict.status(best, novelty, trained.predictor),
        because=because,
        objective=objective,
        left_out={**inputs.dropped, **verdict.left_out(ranked, objective, inputs.names), **beaten},
        novelty=novelty,
        predictor=trained.predictor.training,
        predictor_from=trained.origin,
        coverage=1 - trained.predictor.alpha,
        signatures=evidence.origins,
        tried=tuple(forecast.ran),
        scored=forecast.scored,
        seconds=perf_counter() - began,
    )


def _narrow(forecast: Forecast, objective: Objective, options: SearchOptions) -> dict[str, str]:
    """Of more models than the field, go on with those of the best pairs; the others, and why."""
    field = options.field
    if not field or len(forecast.models) <= field or (options.most or field) <= 2:
        return {}
    pairs = search(forecast, objective, most=2, beam=options.beam)
    going = set(verdict.narrowed(pairs, max(field, options.least)))
    beaten = dict.fromkeys(forecast.models.keys() - going, BEATEN)
    forecast.models = {name: each for name, each in forecast.models.items() if name in going}
    return dict(sorted(beaten.items()))


def _runner(inputs: Inputs, evidence: Evidence, say: Progress) -> Run:
    probes = tuple(evidence.probes.values())
    dtype = evidence.signatures[inputs.names[0]].settings.dtype

    def run(tree: Tree) -> Mapping[str, Sketch]:
        say(f"trying {tree.label}")
        return run_merge(_recipe(inputs.models, inputs.base, tree), probes, dtype=dtype)

    return run


def _recipe(models: Sequence[Checkpoint], base: Checkpoint | None, tree: Tree) -> Recipe:
    chosen = [m for m in models if m.name in tree.models]
    recipe = Recipe(
        base=source(base) if base else None,
        models=tuple(source(m) for m in chosen),
        steps=steps(tree),
        dtype=common_dtype(base or models[0]),
    )
    check(recipe, "the plan")
    return recipe


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 4) for value in values]
