"""One merge, really made and really evaluated: two models and an arm -> rows of measurements.

A merge or an evaluation that fails is rows that say why. The merged folder is deleted at once.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from simmerge_hub.errors import EvaluationError, SimmergeError
from simmerge_hub.evaluation.contents import path_digest, task_content
from simmerge_hub.evaluation.harness import Machine, evaluate
from simmerge_hub.evaluation.results import Protocol, TaskResult
from simmerge_hub.hub.digest import answering_digest
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.learning.catalogue import base_of
from simmerge_hub.learning.measurements import Measurement, MergeKey
from simmerge_hub.learning.recipe import LearnTask
from simmerge_hub.literal import printable
from simmerge_hub.operators import Arm
from simmerge_hub.operators.registry import find
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.tree import join, leaf, recipe_of
from simmerge_hub.progress import Progress
from simmerge_hub.recipe.calibration import Prompts
from simmerge_hub.selector.tables.outcomes import SMALLEST_GAP
from simmerge_hub.workers.here import Lost, Workers, map_in_order
from simmerge_hub.workers.scratch import scratch_folder

Scores = Mapping[str, Mapping[str, float]]
"""Task -> model -> its own score, the base's included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What merges are made and evaluated with.

    Args:
        inputs: the models and their base.
        tasks: what they are evaluated on.
        scores: of the models alone.
        prompts: model -> what it is fed, for arms that look at activations.
        protocol: how tasks are put.
        machine: what runs merges.
        scratch: the folder that merges are made in, and deleted.
        elsewhere: other processes make them, each in a temporary folder of its own instead.
        evict: delete shards downloaded for a merge after it.
    """

    inputs: Inputs
    tasks: tuple[LearnTask, ...]
    scores: Scores
    prompts: Mapping[str, tuple[Prompts, ...]]
    protocol: Protocol
    machine: Machine
    scratch: Path
    elsewhere: bool = False
    evict: bool = False

    def rows_of(self, first: str, second: str) -> list[tuple[str, str, LearnTask]]:
        """(expert, auxiliary, task) of the tasks at which one of two models is better."""
        ordered = []
        for task in self.tasks:
            scores = self.scores[task.name]
            lead = scores[first] - scores[second]
            if abs(lead) >= SMALLEST_GAP:
                pair = (first, second) if lead > 0 else (second, first)
                ordered.append((*pair, task))
        return ordered


def try_merges(
    trial: Trial, merges: Sequence[tuple[str, str, Arm]], workers: Workers
) -> Iterator[tuple[MergeKey, list[Measurement], bool]]:
    """Make and evaluate merges, here or elsewhere: (merge, its rows, whether it was tried), each
    once, as they come. One whose processes died, again and again, is rows that say so."""
    for place, result in workers.spread(partial(try_merge, trial), merges):
        first, second, arm = merges[place]
        key = first, second, arm.label
        if isinstance(result, Lost):
            failed = {task.name: printable(result.reason) for task in trial.tasks}
            yield key, measure_rows(trial, first, second, arm, {}, failed), False
        else:
            yield key, result, True


def try_merge(trial: Trial, merge: tuple[str, str, Arm]) -> list[Measurement]:
    """Make one merge, evaluate it on the tasks at which its models differ, delete it.

    Args:
        trial: what it is made with.
        merge: the models, in the order of the arm's weights, and the arm.

    Returns:
        One row per task; the arm of a row has its weights in the order (expert, auxiliary).
    """
    first, second, arm = merge
    asked = [task for *_, task in trial.rows_of(first, second)]
    own = hashlib.sha256(f"{first}\n{second}\n{arm.label}".encode()).hexdigest()[:16]
    results: dict[str, TaskResult] = {}
    failed: dict[str, str] = {}
    try:
        with _scratch(trial) as place:
            trial = replace(trial, scratch=place / own)
            made = make_merge(trial, (first, second), arm, trial.scratch / "merge")
            results = evaluate_tasks(made, asked, trial.protocol, trial.machine)
    except SimmergeError as error:
        failed = {task.name: printable(str(error)) for task in asked}
    return measure_rows(trial, first, second, arm, results, failed)


@contextmanager
def _scratch(trial: Trial) -> Iterator[Path]:
    """Where a merge is made, and deleted: one's own folder, where others make some too."""
    if trial.elsewhere:
        with scratch_folder() as place:
            yield place
        return
    try:
        yield trial.scratch
    finally:
        shutil.rmtree(trial.scratch, ignore_errors=True)


def measure_rows(
    trial: Trial,
    first: str,
    second: str,
    arm: Arm,
    results: Mapping[str, TaskResult],
    failed: Mapping[str, str],
) -> list[Measurement]:
    """One row per task at which the models differ: what was measured, or why it was not."""
    none = "it has no score from 0 to 1"
    rows = []
    for expert, auxiliary, task in trial.rows_of(first, second):
        result = results.get(task.name)
        score = _score(result) if result else None
        rows.append(
            Measurement(
                expert=expert,
                auxiliary=auxiliary,
                task=task.name,
                arm=(arm if expert == first else arm.swapped()).label,
                utility=score,
                failed="" if score is not None else failed.get(task.name, none),
                halves=result.halves if result else None,
                alone=_alone(trial, expert, auxiliary, task),
                origin=_origin(trial, expert, auxiliary, arm, task, result),
            )
        )
    return rows


def evaluate_tasks(
    model: Checkpoint,
    tasks: Sequence[LearnTask],
    protocol: Protocol,
    machine: Machine,
    base: Checkpoint | None = None,
) -> dict[str, TaskResult]:
    """Task -> what `model` scores on it; a group's aggregate stands for it.

    Raises:
        EvaluationError: it cannot be evaluated, or a task is several without an aggregate.
    """
    by_task: dict[str, TaskResult] = {}
    for include in dict.fromkeys(task.include for task in tasks):
        some = [task for task in tasks if task.include == include]
        results = evaluate(
            model, [task.evaluate for task in some], protocol=protocol, machine=machine,
            base=base, include=Path(include) if include else None,
        )  # fmt: skip
        by_task |= {task.name: _only_result(task, results[task.evaluate]) for task in some}
    return by_task


def measure_alone(
    inputs: Inputs,
    tasks: Sequence[LearnTask],
    protocol: Protocol,
    machine: Machine,
    workers: Workers,
    tell: Progress,
) -> Scores:
    """Task -> model -> its own score, the base's too; kept from earlier runs by the cache of
    evaluations.

    Raises:
        EvaluationError: a model cannot be evaluated, or has no score from 0 to 1 on a task.
    """
    base = base_of(inputs)
    everyone = (*inputs.models, base)
    work = partial(evaluate_tasks, tasks=tasks, protocol=protocol, machine=machine, base=base)
    every = map_in_order(
        workers, work, everyone, lambda done: tell("evaluating models", done, len(everyone))
    )
    return {
        task.name: {
            m.name: _share(m, task, r[task.name]) for m, r in zip(everyone, every, strict=True)
        }
        for task in tasks
    }


def _share(model: Checkpoint, task: LearnTask, result: TaskResult) -> float:
    """A model's score; EvaluationError if it is none that others' can be compared with.

    Of percentages those up to 1 % would pass for shares, and all others for no score.
    """
    score = _score(result)
    if score is None:
        seen = ", ".join(f"{name} {value:g}" for name, value in result.metrics.items())
        raise EvaluationError(
            f"{task.name}: {model.name} has no score from 0 to 1 of which more is better on "
            f"{result.task} (seen: {seen or 'no metric'})",
            hint="name a task with such a metric, as acc or exact_match are; of percentages let "
            "its YAML make shares, with higher_is_better: true",
        )
    return score


def _score(result: TaskResult) -> float | None:
    """The score, 0 to 1; 0 for a correlation below it, as `mcc`; None if there is none."""
    rising = [v for name, v in result.metrics.items() if name.partition(",")[0] in result.rising]
    if result.score is None and rising and -1 <= max(rising) < 0:
        return 0.0
    return result.score


def content_of(task: LearnTask) -> str:
    """What a task is by files here, its YAML or its folder of tasks; "" where it has none."""
    return task_content(task.evaluate, Path(task.include) if task.include else None)


def task_digests(task: LearnTask) -> tuple[str, str, str]:
    """What rows on a task follow from: its name, what is evaluated, and the prompts it is
    compared on; files and folders here by their content."""
    probes = task.probes or ""
    if probes and Path(probes).exists():
        probes = path_digest(Path(probes))
    return task.name, content_of(task) or task.evaluate, probes


def _only_result(task: LearnTask, results: Sequence[TaskResult]) -> TaskResult:
    """The one result of a task, or the aggregate of a group, which comes first.

    A group without an aggregate is a result without metrics, beside those of its tasks.
    """
    scored = [result for result in results if result.metrics or not result.group]
    if len(scored) == 1 or (scored and scored[0].group and scored[0] == results[0]):
        return scored[0]
    names = ", ".join(result.task for result in scored[:5])
    several = f"is {len(scored)} tasks without a score of all ({names})"
    raise EvaluationError(
        f"{task.name}: {task.evaluate} {several if scored else 'has no results'}",
        hint="name one task of it, or a group whose YAML has aggregate_metric_list",
    )


def make_merge(trial: Trial, models: Sequence[str], arm: Arm, folder: Path) -> Checkpoint:
    """The merge of models in one step, in an empty scratch folder.

    Raises:
        SimmergeError: it cannot be made.
    """
    from simmerge_hub.merger import merge

    shutil.rmtree(trial.scratch, ignore_errors=True)
    trial.scratch.mkdir(parents=True)
    tree = join(arm, *map(leaf, models))
    recipe = recipe_of(tree, trial.inputs.models, trial.inputs.base, trial.prompts)
    merge(recipe, folder, durable=False, evict=trial.evict)
    return resolve(str(folder))


def _alone(trial: Trial, expert: str, auxiliary: str, task: LearnTask) -> dict[str, float]:
    scores, base = trial.scores[task.name], base_of(trial.inputs)
    return {"expert": scores[expert], "auxiliary": scores[auxiliary], "base": scores[base.name]}


def origin_of(trial: Trial, model: Checkpoint, arm: Arm | None = None) -> dict[str, object]:
    """What of a model a merge by `arm` follows from: its content, and the prompts it is fed."""
    content: dict[str, object] = {"digest": answering_digest(model)}
    if arm and find(arm.operator).activations:
        content["prompts"] = [each.digest for each in trial.prompts[model.name]]
    return content


def _origin(
    trial: Trial,
    expert: str,
    auxiliary: str,
    arm: Arm,
    task: LearnTask,
    result: TaskResult | None,
) -> dict[str, object]:
    by_name = {model.name: model for model in trial.inputs.models}
    merged = {"expert": by_name[expert], "auxiliary": by_name[auxiliary]}
    base, protocol = base_of(trial.inputs), trial.protocol
    return {
        "models": {
            **{
                role: {"commit": m.commit, **origin_of(trial, m, arm)} for role, m in merged.items()
            },
            "base": {"commit": base.commit, **origin_of(trial, base)},
        },
        "evaluate": task.evaluate,
        "content": content_of(task),
        "version": result.version if result else "",
        "metric": result.primary if result else "",
        "harness": result.harness if result else "",
        "samples": result.samples if result else 0,
        "limit": protocol.limit,
        "seed": protocol.seed,
        "dtype": protocol.dtype,
    }
