"""Three or more models in, a plan out: which of them, in which order, with which operators.

Everything here is prediction: no model is merged, no intermediate is built and none evaluated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from simmerge_hub.errors import AlignmentError, ObjectiveError
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.merger import common_dtype
from simmerge_hub.operators import arm, find
from simmerge_hub.planning.evidence import Progress, check_names, probed, signatures_of
from simmerge_hub.planning.forecast import Belief, Candidate, Forecast
from simmerge_hub.planning.objective import MEAN, Objective, Spread
from simmerge_hub.planning.search import BEAM, CAUTION, search
from simmerge_hub.planning.tasks import Task, tasks_of
from simmerge_hub.planning.trees import Tree, drawn, joined, leaf, steps
from simmerge_hub.recipe import Recipe, check, dump_yaml, sealed, source
from simmerge_hub.selector import origin
from simmerge_hub.selector.novelty import Novelty, judge
from simmerge_hub.signatures.features import features
from simmerge_hub.signatures.probe import ProbeSet, probe_set
from simmerge_hub.signatures.shared import signed
from simmerge_hub.weights.align import aligned
from simmerge_hub.weights.lineage import common_base

SHOWN = 10
"""Plans that are told."""
UNKNOWN = Belief(mean=0.0, variance=1.0)
"""What is expected where nothing is predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyPlan:
    """Which of many models to merge and how, and what was decided against.

    Args:
        recipe: the chosen tree, with the chosen models only.
        tasks: of all models that were given.
        probes: task -> what was run.
        candidates: the best trees, best first; what each is expected to reach on every task.
        parts: label of a merge inside the chosen tree -> what is expected of it.
        status: `extrapolated` (the ranking stands, intervals are not calibrated) or `abstained`
            (the safe operator merges all at once).
        because: why the first is first.
        objective: what was wanted.
        left_out: tasks and models that were dropped, with the reason.
        novelty: task -> the most unfamiliar pair of models.
        predictor, predictor_from: as of a plan of two.
        coverage: what share of outcomes the intervals would hold if they were calibrated.
        signatures: where they came from.
        scored: how many merges were predicted.
        seconds: how long that took, signing not counted.
    """

    recipe: Recipe
    tasks: tuple[Task, ...]
    probes: Mapping[str, ProbeSet]
    candidates: tuple[Candidate, ...]
    parts: Mapping[str, Candidate]
    status: Literal["extrapolated", "abstained"]
    because: tuple[str, ...]
    objective: Objective
    left_out: Mapping[str, str]
    novelty: Mapping[str, Novelty]
    predictor: str
    predictor_from: str
    coverage: float
    signatures: Mapping[str, Mapping[str, str]]
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
            "pareto": _on_the_front(candidate, self.candidates),
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
        predictor, signals, signatures, progress, note: as of `plan`.

    Raises:
        SimmergeError: the models cannot be merged, or there is nothing to predict from.
    """
    say = progress or (lambda _: None)
    _check_numbers(len(models), least, most)
    trained = origin.find(predictor)
    say("reading headers")
    checkpoints = [resolve(model) for model in models]
    check_names(checkpoints, None)
    found = common_base(checkpoints, base)
    check_names(checkpoints, found)
    aligned(checkpoints, found)
    tasks, dropped = tasks_of(checkpoints, experts, probes)
    objective.check([task.name for task in tasks])
    probe_sets = {t.name: probe_set(t.name, t.probes) for t in probed(tasks, signals)}

    def sign(*args: Any, **kwargs: Any):
        return signed(*args, third_parties=signatures, note=note, **kwargs)

    made = signatures_of(checkpoints, found, tuple(probe_sets.values()), sign, say)
    say("predicting")
    began = perf_counter()
    forecast = Forecast(
        predictor=trained.predictor,
        base=made[found.name].signature if found else None,
        models={c.name: made[c.name].signature for c in checkpoints},
        known={task.name: _relative(task) for task in tasks},
    )
    novelty = _novelty(forecast, tasks, _entries(found or checkpoints[0]))
    ranked = search(forecast, objective, least=least, most=most, beam=beam)
    if any(n.status == "abstained" for n in novelty.values()):
        ranked = [_safe(forecast)]
        because = _abstained(ranked[0], novelty)
    else:
        because = _because(ranked, objective)
    best = ranked[0]
    names = [c.name for c in checkpoints]
    return ManyPlan(
        recipe=_recipe(checkpoints, found, best.tree),
        tasks=tasks,
        probes=probe_sets,
        candidates=tuple(ranked),
        parts={m.label: forecast.seen.get(m.label, best) for m in best.tree.merges},
        status="extrapolated" if len(ranked) > 1 else "abstained",
        because=because,
        objective=objective,
        left_out={**dropped, **_left_out(ranked, objective, names)},
        novelty=novelty,
        predictor=trained.predictor.training,
        predictor_from=trained.origin,
        coverage=1 - trained.predictor.alpha,
        signatures={name: each.origins for name, each in made.items()},
        scored=forecast.scored,
        seconds=perf_counter() - began,
    )


def _check_numbers(count: int, least: int, most: int | None) -> None:
    if count < 3:
        raise AlignmentError(
            f"a plan of many takes three models or more, and {count} are given",
            hint="two are planned by `plan`",
        )
    if not 2 <= least <= min(most or count, count):
        raise AlignmentError(
            f"a merge shall have {least} to {most or count} of {count} models",
            hint="it has at least 2 and at most all: --min-models 2",
        )


def _relative(task: Task) -> dict[str, float]:
    """Model -> its score over the expert's, where cards state them."""
    own = task.scores.get(task.expert, 0.0)
    found = {name: score / own for name, score in task.scores.items()} if own > 0 else {}
    return {**found, task.expert: 1.0}


def _entries(whole: Checkpoint) -> int | None:
    return sum(h.entries for h in whole.tensors.values()) if whole.kind == "full" else None


def _novelty(forecast: Forecast, tasks: Sequence[Task], entries: int | None) -> dict[str, Novelty]:
    """Task -> where its expert's most unfamiliar pair stands."""
    known = forecast.predictor
    found = {}
    for task in tasks:
        mine = forecast.models[task.expert]
        judged = [
            judge(
                known.familiar,
                features(mine, other, forecast.base, task.name).values,
                known.names,
                parameters=entries,
            )
            for name, other in forecast.models.items()
            if name != task.expert
        ]
        ranks = ("calibrated", "extrapolated", "abstained")
        found[task.name] = max(judged, key=lambda n: (ranks.index(n.status), n.distance))
    return found


def _safe(forecast: Forecast) -> Candidate:
    """All models at once with the predictor's safe arm, or their mean if it cannot do that."""
    known = forecast.predictor
    safe = known.arms[known.safe]
    many = find(safe.operator).models[1] is None
    if not many or (forecast.base is None and find(safe.operator).needs_base):
        safe = arm("linear")
    tree = joined(safe, *map(leaf, forecast.models))
    return Candidate(tree=tree, beliefs=dict.fromkeys(forecast.known, UNKNOWN))


def _abstained(safe: Candidate, novelty: Mapping[str, Novelty]) -> tuple[str, ...]:
    why = next(n.reason for n in novelty.values() if n.status == "abstained")
    return (f"{safe.tree.label} is the safe choice: {why}",)


def _because(ranked: Sequence[Candidate], objective: Objective) -> tuple[str, ...]:
    """Why the first is first, in sentences without their full stops."""
    best = ranked[0]
    spreads = best.spreads(CAUTION)
    if short := objective.missing(spreads):
        wanted = " and ".join(f"{least:g} on {task}" for task, least in objective.keep.items())
        reached = ", ".join(f"{spreads[task][0]:.2f} on {task}" for task in short)
        raise ObjectiveError(
            f"no merge is predicted to keep {wanted}; "
            f"the closest, {best.tree.label}, has {reached}",
            hint="ask for less, or for fewer tasks",
        )
    middle, low, _ = objective.value(spreads)
    first = (
        f"Of {len(ranked)} merges {best.tree.label} is predicted to have "
        f"{objective.describe(best.beliefs)} after one standard deviation is taken off: "
        f"{low:.2f} (without that {middle:.2f})"
    )
    shapes = {each.tree.shape: each for each in reversed(ranked) if each.tree.shape}
    others = [
        f"the best {shape} {objective.value(each.spreads(CAUTION))[1]:.2f}"
        for shape, each in sorted(shapes.items())
        if shape != best.tree.shape
    ]
    spoken = f"{first}; {', '.join(others)}" if others else first
    return spoken, "Intervals are made of the steps' own, and are not calibrated for many steps"


def _left_out(
    ranked: Sequence[Candidate], objective: Objective, names: Sequence[str]
) -> dict[str, str]:
    """Models that the best tree does without, with what the best tree with them would reach."""
    best, found = ranked[0], {}
    own = objective.value(best.spreads(CAUTION))[1]
    for name in names:
        if name in best.tree.models:
            continue
        other = next((c for c in ranked if name in c.tree.models), None)
        if other is None:
            found[name] = "no merge with it was among the best of its size"
            continue
        value = objective.value(other.spreads(CAUTION))[1]
        found[name] = f"the best merge with it is predicted to reach {value:.2f}, without {own:.2f}"
    return found


def _on_the_front(candidate: Candidate, others: Sequence[Candidate]) -> bool:
    """Whether no other tree is at least as good on every task and better on one."""
    own = candidate.beliefs
    for other in others:
        leads = [other.beliefs[task].mean - belief.mean for task, belief in own.items()]
        if min(leads) >= 0 and max(leads) > 0:
            return False
    return True


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
