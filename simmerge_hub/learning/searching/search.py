"""The best merge within so many real evaluations: no predictor is needed, and one helps.

It starts at the arms that are predicted to be best and at those that are safe by evidence; the rest
is `loop`. State is a file: a search that was cut off goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

from simmerge_hub.errors import EvaluationError, MissingExtra, SimmergeError
from simmerge_hub.evaluation.results import Protocol, TaskResult
from simmerge_hub.hub.digest import answering_digest
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.learning.measurements import Measurement, save_measurements
from simmerge_hub.learning.recipe import LearnTask
from simmerge_hub.learning.searching.attempts import Attempt, read_state
from simmerge_hub.learning.searching.loop import FIRST_RUNG, Judge, Quest, run_quest
from simmerge_hub.learning.searching.space import RANGES, arm_from, params_of, points_of
from simmerge_hub.learning.tables import MEASUREMENTS_FILE, STATE_FILE, check_own
from simmerge_hub.learning.trying import (
    Trial,
    evaluate_tasks,
    make_merge,
    measure_rows,
    task_digests,
)
from simmerge_hub.literal import printable
from simmerge_hub.operators import Arm, arm
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.tree import join, leaf, recipe_of
from simmerge_hub.progress import Say

PREDICTED = 2
"""Arms that are tried first, of those that are predicted to be best."""
RECIPE_NAME, MERGED = "recipe.yaml", "merged"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search ends with.

    Args:
        arm: the best by all prompts.
        best: its attempt.
        attempts: all, in order.
        recipe: the file of the recipe.
        spent: evaluations on all prompts of all tasks.
    """

    arm: Arm
    best: Attempt
    attempts: tuple[Attempt, ...]
    recipe: Path
    spent: float


def check_optuna() -> None:
    """Raise MissingExtra unless Optuna is there."""
    if find_spec("optuna") is None:
        raise MissingExtra(
            "a search needs Optuna, which is not installed",
            hint="install the extras eval and search: pip install 'simmerge-hub[eval,search]'",
        )


def check_folder(
    folder: Path, inputs: Inputs, tasks: Sequence[LearnTask], protocol: Protocol
) -> None:
    """Raise RequestError if the folder holds another search, or what would be written over: before
    anything is measured."""
    check_own(folder, STATE_FILE, (RECIPE_NAME, MEASUREMENTS_FILE, MERGED))
    read_state(folder / STATE_FILE, _digest(inputs, tasks, protocol))


def search(
    trial: Trial,
    folder: Path,
    *,
    budget: float,
    starts: Sequence[Arm] = (),
    tell: Callable[[Attempt, float], None] = lambda attempt, spent: None,
) -> SearchResult:
    """Try merges of all models of `trial` until the budget is spent.

    Args:
        trial: the models, the tasks, how they are put; its scratch folder is used.
        folder: state, recipe and measurements; a search that was cut off goes on from there.
        budget: evaluations of a merge on all prompts of all tasks.
        starts: what is tried first; a search that goes on keeps those it began with.
        tell: called with every attempt, and what is spent.

    Raises:
        MissingExtra: Optuna is not installed.
        RequestError: the budget pays for no merge, or the folder holds another search.
        EvaluationError: no merge could be made and evaluated.
    """
    check_optuna()
    folder.mkdir(parents=True, exist_ok=True)
    count = len(trial.inputs.names)
    first, seed = tuple(points_of(starts, count)), trial.protocol.seed or 0
    quest = Quest(models=count, budget=budget, starts=first, seed=seed)
    of = _digest(trial.inputs, trial.tasks, trial.protocol)
    attempts = run_quest(quest, partial(_attempt, trial), folder / STATE_FILE, of, tell)
    return _finish(trial, folder, attempts)


def starting_arms(trial: Trial, predictor: str | None, say: Say) -> list[Arm]:
    """The arms that are predicted to be best of those that can be tried, and those that are safe;
    these alone where nothing is predicted."""
    safe = [arm("regmean", alpha=0.9), arm("linear")]
    if len(trial.inputs.models) != 2:
        return safe
    from simmerge_hub.planning.ask.options import Sources, Tasks
    from simmerge_hub.planning.plan import plan

    base = trial.inputs.base
    try:
        planned = plan(
            *(str(model.ref) for model in trial.inputs.models),
            base=str(base.ref) if base else None,
            tasks=Tasks(
                experts={t.name: t.expert for t in trial.inputs.tasks},
                probes={t.name: t.probes for t in trial.inputs.tasks if t.probes},
            ),
            sources=Sources(predictor=predictor),
        )
    except SimmergeError as error:
        say(f"nothing is predicted: {error}")
        return safe
    names = tuple(trial.inputs.names)
    trees = [each.tree for each in planned.choices if each.tree.arm is not None]
    ranked = [t.arm if t.models == names else t.arm.swapped() for t in trees if t.arm]
    best = [each for each in ranked if params_of(each, len(names))]
    return [*best[:PREDICTED], *safe]


def _attempt(trial: Trial, params: Mapping[str, Any], judge: Judge) -> Attempt:
    """Make a merge; a quarter of the prompts, and all where the judge says so."""
    names, cost, few = trial.inputs.names, 0.0, None
    limit = trial.protocol.limit
    assert limit is not None
    try:
        chosen = arm_from(params, len(names))
        merged = make_merge(trial, names, chosen, trial.scratch / "merge")
        some = replace(trial.protocol, limit=max(1, limit // FIRST_RUNG))
        cost = 1 / FIRST_RUNG
        few = _share_kept(trial, evaluate_tasks(merged, trial.tasks, some, trial.machine))
        if not judge(few):
            return Attempt(params=params, few=few, score=None, cost=cost)
        cost += 1.0
        results = evaluate_tasks(merged, trial.tasks, trial.protocol, trial.machine)
        score = _share_kept(trial, results)
        plain = json.loads(json.dumps({task: asdict(result) for task, result in results.items()}))
        return Attempt(params=params, few=few, score=score, cost=cost, results=plain)
    except SimmergeError as error:
        why = printable(str(error))
        return Attempt(params=params, few=few, score=None, cost=cost or 1.0, failed=why)
    finally:
        shutil.rmtree(trial.scratch, ignore_errors=True)


def _share_kept(trial: Trial, results: Mapping[str, TaskResult]) -> float:
    """The mean over tasks of the share of the best model's score."""
    shares = []
    for task, result in results.items():
        best = max(trial.scores[task][name] for name in trial.inputs.names)
        shares.append((result.score or 0.0) / best if best > 0 else 0.0)
    return fmean(shares)


def _finish(trial: Trial, folder: Path, attempts: Sequence[Attempt]) -> SearchResult:
    """The recipe of the best, and all that was measured on all prompts, as `learn` takes it."""
    whole = [a for a in attempts if a.score is not None]
    if not whole:
        seen = next((a.failed for a in attempts if a.failed), "the budget is too small")
        raise EvaluationError(f"no merge could be made and evaluated: {seen}")
    best = max(whole, key=lambda a: a.score or 0.0)
    names = trial.inputs.names
    chosen = arm_from(best.params, len(names))
    recipe = recipe_of(
        join(chosen, *map(leaf, names)), trial.inputs.models, trial.inputs.base, trial.prompts
    )
    (folder / RECIPE_NAME).write_text(recipe.to_yaml())
    if len(names) == 2:
        save_measurements(_measurements(trial, whole), folder / MEASUREMENTS_FILE)
    spent = sum(a.cost for a in attempts)
    return SearchResult(
        arm=chosen,
        best=best,
        attempts=tuple(attempts),
        recipe=folder / RECIPE_NAME,
        spent=spent,
    )


def _measurements(trial: Trial, attempts: Sequence[Attempt]) -> list[Measurement]:
    by_key: dict[tuple[str, ...], Measurement] = {}
    for attempt in attempts:
        results = {task: _result(entry) for task, entry in attempt.results.items()}
        first, second = trial.inputs.names
        chosen = arm_from(attempt.params, 2)
        for row in measure_rows(trial, first, second, chosen, results, {}):
            by_key[row.key] = row
    return list(by_key.values())


def _result(entry: Mapping[str, Any]) -> TaskResult:
    halves = tuple(entry["halves"]) if entry["halves"] else None
    return TaskResult(**{**entry, "rising": tuple(entry["rising"]), "halves": halves})


def measured_model(searched: Path, result: SearchResult) -> Path:
    """Merge what a search in the folder `searched` ended with; its card states what was measured.

    Returns:
        The folder of the merge, there.
    """
    from simmerge_hub.hub.upload.results import MeasuredScore, add_scores
    from simmerge_hub.publishing.verbs import merge

    folder = searched / MERGED
    merge(result.recipe, folder, overwrite=True)
    scores = [
        MeasuredScore(
            task=each.task,
            dataset=each.dataset,
            metric=each.primary,
            value=each.score,
            arguments={"version": each.version, "samples": each.samples},
            harness=each.harness,
        )
        for each in map(_result, result.best.results.values())
        if each.score is not None
    ]
    card = folder / "README.md"
    text = add_scores(card.read_text("utf-8"), resolve(str(folder)).name, scores)
    card.write_text(text, "utf-8")
    return folder


def _digest(inputs: Inputs, asked: Sequence[LearnTask], protocol: Protocol) -> str:
    """Of what the attempts follow from. The budget is not part of it: a search may go on longer;
    nor are the first points: the state keeps them."""
    models = [answering_digest(model) for model in inputs.models]
    base = answering_digest(inputs.base) if inputs.base else ""
    tasks = [task_digests(task) for task in asked]
    parts = [models, base, tasks, asdict(protocol), version("lm_eval"), RANGES]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
