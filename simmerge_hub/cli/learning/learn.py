"""learn: measure merges of a catalogue, learn from them, publish both."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import arguments, show
from simmerge_hub.cli.learning import tables
from simmerge_hub.cli.learning.evaluate import add_machine
from simmerge_hub.errors import RequestError
from simmerge_hub.units import spell_bytes, spell_count

if TYPE_CHECKING:
    from simmerge_hub.learning.cost import Cost
    from simmerge_hub.learning.learn import Learned
    from simmerge_hub.learning.recipe import LearnRecipe

TABLE_SUFFIX = "-outcomes"
"""What the dataset is called after the predictor."""


def options(commands: Any) -> None:
    """Add `simmerge-hub learn`."""
    command = arguments.command(
        commands, "learn", run, "merge and evaluate pairs of your models, train a predictor on it"
    )
    command.add_argument(
        "recipe", metavar="RECIPE", help="a YAML file like recipes/nano-learn.yaml"
    )
    command.add_argument(
        "-o", "--output", required=True, metavar="DIR",
        help="journal, tables and predictor; a run that was cut off goes on there",
    )  # fmt: skip
    command.add_argument(
        "--outcomes", action="append", default=[], metavar="ORG/TABLE",
        help="also learn from measured merges that others published (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--plan", action="store_true", dest="only_plan",
        help="say what it would take, and do nothing",
    )  # fmt: skip
    command.add_argument(
        "--no-train", action="store_false", dest="fit", help="measure, and train nothing"
    )
    command.add_argument(
        "--push", metavar="ORG/NAME",
        help="publish the predictor there, and its table as the dataset ORG/NAME-outcomes",
    )  # fmt: skip
    command.add_argument("--private", action="store_true", help="if a repository is new")
    arguments.ray(command, "work on")
    add_job(command)
    add_machine(command, dtype=False)


def add_job(command: argparse.ArgumentParser) -> None:
    """A job of the Hub that does it instead."""
    command.add_argument(
        "--hf-jobs", dest="flavor", metavar="FLAVOR",
        help="let a machine of the Hub do it: a10g-small, h200 (hf jobs hardware lists them)",
    )  # fmt: skip
    command.add_argument(
        "--package", metavar="SPEC",
        help="with --hf-jobs, which needs it: what pip installs there, simmerge-hub with [eval]",
    )  # fmt: skip
    command.add_argument(
        "--timeout",
        default="12h",
        metavar="TIME",
        help="with --hf-jobs: when it is stopped; default: 12h",
    )


def run(
    *,
    recipe: str,
    output: str,
    outcomes: Sequence[str] = (),
    only_plan: bool = False,
    fit: bool = True,
    push: str | None = None,
    private: bool = False,
    ray: str | None = None,
    flavor: str | None = None,
    package: str | None = None,
    timeout: str = "12h",
    **how: Any,
) -> None:
    """`simmerge-hub learn`; `how` are the fields of `Machine`."""
    from simmerge_hub.evaluation.harness import Machine
    from simmerge_hub.evaluation.names import refuse_unknown
    from simmerge_hub.learning.catalogue import open_catalogue
    from simmerge_hub.learning.cost import estimate
    from simmerge_hub.learning.learn import learn
    from simmerge_hub.learning.recipe import Table, check_elsewhere, load_learn_recipe
    from simmerge_hub.learning.tables import load_others
    from simmerge_hub.workers.cluster import open_workers

    if package and not flavor:
        raise RequestError(
            "--package says what a job installs, and no job is asked for",
            hint="add --hf-jobs FLAVOR, or leave it out",
        )
    asked = load_learn_recipe(Path(recipe))
    if ray or flavor:
        check_elsewhere(asked)
    if push:
        _check_push(push, fit)
    others = tuple(Table(repo=repo) for repo in outcomes)
    asked = replace(asked, together=(*asked.together, *others))
    with show.status("reading headers"):
        for task in asked.tasks:
            refuse_unknown([task.evaluate], Path(task.include) if task.include else None)
        inputs = open_catalogue(asked)
        known = load_others(asked, inputs.names, fit=fit)
    for sentence in inputs.notes:
        show.note(sentence)
    _cost(estimate(asked, inputs))
    if only_plan:
        return
    if flavor:
        if ray:
            raise RequestError(
                "a job runs on one machine, and --ray names a cluster",
                hint="leave out --ray, or --hf-jobs",
            )
        words = _job_words(outcomes, fit=fit, private=private, **how)
        _submit(Path(recipe), asked, push, words, flavor=flavor, package=package, timeout=timeout)
        return
    folder = Path(output)
    with open_workers(ray, show.note) as workers, show.progress("learning") as step:

        def tell(what: str, done: int, total: int) -> None:
            if total:
                step(what, done, total)

        learned = learn(
            asked,
            folder,
            inputs=inputs,
            others=known,
            machine=Machine(**how),
            workers=workers,
            fit=fit,
            progress=tell,
            note=show.note,
        )
    _summary(learned)
    show.note(f"written to {folder}")
    if push:
        _publish(folder, push, private, fit)
    _say_next(learned, folder, push)


def _say_next(learned: "Learned", folder: Path, push: str | None) -> None:
    """How plans take the predictor that was learned, if one was."""
    from simmerge_hub.selector.predictor.origin import PREDICTOR_FILE

    if learned.predictor is not None:
        name = push or shlex.quote(str(folder / PREDICTOR_FILE))
        show.note(f"next: simmerge-hub plan MODEL MODEL --predictor {name}")


def _check_push(repo_id: str, fit: bool) -> None:
    """Before anything is measured or paid for: whether both repositories may be pushed to."""
    from simmerge_hub.hub.upload.publish import refuse_others
    from simmerge_hub.learning.tables import TABLE_FILES
    from simmerge_hub.selector.predictor.origin import PREDICTOR_FILE

    refuse_others(f"{repo_id}{TABLE_SUFFIX}", TABLE_FILES, repo_type="dataset")
    if fit:
        refuse_others(repo_id, [PREDICTOR_FILE])


def _submit(
    recipe: Path,
    asked: "LearnRecipe",
    push: str | None,
    words: Sequence[str],
    *,
    flavor: str,
    package: str | None,
    timeout: str,
) -> None:
    from simmerge_hub.learning.job import submit_learning

    if not push:
        raise RequestError(
            "a job leaves nothing but what it pushes", hint="say where: --push org/name"
        )
    if not package:
        raise RequestError(
            "simmerge-hub is not released, so there is no name that the job could install it by",
            hint="say from where: --package 'simmerge-hub[eval] @ git+https://HOST/ORG/REPO'",
        )
    with show.status("submitting the job"):
        job = submit_learning(
            recipe, asked, push, words, flavor=flavor, package=package, timeout=timeout
        )
    show.line(job.url)
    show.note(f"job {job.id}: {job.stage.lower()}; its log: hf jobs logs {job.id}")


def _job_words(outcomes: Sequence[str], *, fit: bool, private: bool, **machine: str) -> list[str]:
    """The options of this command that the one in the job has too."""
    words = [word for repo in outcomes for word in ("--outcomes", repo)]
    words += [] if fit else ["--no-train"]
    words += ["--private"] if private else []
    for name, value in machine.items():
        words += ["--" + name.replace("_", "-"), value]
    return words


def _cost(cost: "Cost") -> None:
    merges = spell_count(cost.merges, "merge")
    show.note(
        f"{cost.pairs} of {cost.of} pairs of {cost.models} models are merged: {merges}, "
        f"{cost.evaluations} evaluations of a model on a task, at most "
        f"{cost.prompts:,} prompts"
    )
    show.note(
        f"at most {spell_bytes(cost.download)} of weights are downloaded; one merge at a time "
        f"takes {spell_bytes(cost.disk)} of disk"
    )


def _summary(learned: "Learned") -> None:
    """What each arm kept, what failed, and how the predictor does."""
    table = show.make_table("arm", title="Measured: share of the expert's score that merges keep")
    for heading in ("mean", "measurements", "failed"):
        table.add_column(heading, justify="right")
    for arm in learned.outcomes.arms:
        rows = [row for row in learned.measurements if row.arm == arm.label]
        kept = [
            row.utility / row.alone["expert"]
            for row in rows
            if row.utility is not None and row.alone["expert"]
        ]
        mean = f"{fmean(kept):.2f}" if kept else "–"
        table.add_row(show.escape(arm.label), mean, str(len(kept)), str(len(rows) - len(kept)))
    show.OUT.print(table)
    for why in dict.fromkeys(row.failed for row in learned.measurements if row.failed):
        show.note(f"failed: {why}")
    if learned.predictor is not None:
        tables.report(learned.predictor.report)


def _publish(folder: Path, repo_id: str, private: bool, fit: bool) -> None:
    from simmerge_hub.learning.sharing import push_table
    from simmerge_hub.publishing.predictors import push_predictor
    from simmerge_hub.selector.predictor.origin import PREDICTOR_FILE

    with show.status("publishing"):
        commits = [push_table(folder, f"{repo_id}{TABLE_SUFFIX}", private=private)]
        if fit:
            commits.append(push_predictor(folder / PREDICTOR_FILE, repo_id, private=private))
    for commit in commits:
        show.commit(commit)
