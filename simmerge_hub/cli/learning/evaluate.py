"""evaluate: models on real tasks, and their scores on their cards."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import arguments, show
from simmerge_hub.errors import RequestError
from simmerge_hub.progress import Progress

if TYPE_CHECKING:
    from simmerge_hub.evaluation.results import TaskResult
    from simmerge_hub.hub.resolve import Checkpoint


def options(commands: Any) -> None:
    """Add `simmerge-hub evaluate`."""
    command = arguments.command(
        commands, "evaluate", run, "evaluate models with lm-evaluation-harness; scores are kept"
    )
    command.add_argument("models", nargs="+", metavar="MODEL", help=arguments.REFERENCE)
    add_tasks(command)
    command.add_argument("--base", help="of an adapter, if it does not say")
    add_machine(command)
    command.add_argument(
        "--attach", action="store_true",
        help="put the scores on the models' cards, marked as measured",
    )  # fmt: skip
    arguments.ray(command, "evaluate on")
    arguments.json(command)


def add_tasks(command: argparse.ArgumentParser) -> None:
    """Which tasks, and how they are put."""
    command.add_argument(
        "--tasks", action="append", required=True, metavar="TASK[,TASK]",
        help="names that the harness knows, its YAML files, or ours: nano_code, nano_math, "
             "nano_multilingual, nano_rag, nano_instruct (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--include", type=Path, metavar="DIR", help="a folder of tasks in the harness's YAML"
    )
    command.add_argument(
        "--limit", type=arguments.positive, metavar="N",
        help="prompts of each task at most; default: all",
    )  # fmt: skip
    command.add_argument(
        "--seed", type=int, metavar="N",
        help="with --limit: draw the prompts by this seed; default: the first ones",
    )  # fmt: skip
    command.add_argument(
        "--fewshot", type=int, metavar="N", help="solved examples before each prompt"
    )
    command.add_argument(
        "--chat-template", action="store_true", dest="chat_template",
        help="put prompts into the tokenizer's chat template",
    )  # fmt: skip
    command.add_argument(
        "--unsafe-code", action="store_true", dest="unsafe_code",
        help="let tasks run code that a model writes; only in a sandbox",
    )  # fmt: skip


def add_machine(command: argparse.ArgumentParser, *, dtype: bool = True) -> None:
    """What runs the models; `dtype` where nothing else says it."""
    command.add_argument(
        "--backend", choices=["auto", "hf", "vllm"], default="auto",
        help="auto: vLLM where it is installed and a GPU is there, else transformers",
    )  # fmt: skip
    command.add_argument(
        "--batch-size", default="auto", dest="batch_size", metavar="N",
        help="auto: the largest that fits on a GPU, 32 on a CPU",
    )  # fmt: skip
    command.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE",
        help="as torch calls it: cpu, cuda:1; default: a GPU where there is one",
    )
    if dtype:
        command.add_argument(
            "--dtype", default="auto",
            choices=["auto", "float32", "bfloat16", "float16", "float64"],
            help="of the weights; auto: as they are stored",
        )  # fmt: skip


def split_tasks(given: Sequence[str]) -> list[str]:
    """`a,b` `c` -> a, b, c, each once."""
    names = [name.strip() for text in given for name in text.split(",")]
    return list(dict.fromkeys(name for name in names if name))


def run(
    *,
    models: Sequence[str],
    tasks: Sequence[str],
    include: Path | None = None,
    base: str | None = None,
    unsafe_code: bool = False,
    attach: bool = False,
    ray: str | None = None,
    as_json: bool = False,
    **how: Any,
) -> None:
    """`simmerge-hub evaluate`; `how` are the fields of `Protocol` and `Machine`."""
    from simmerge_hub.evaluation.harness import check_installed
    from simmerge_hub.evaluation.spread import evaluate_all
    from simmerge_hub.hub.resolve import resolve
    from simmerge_hub.workers.cluster import open_workers

    check_installed()
    protocol, machine = split_how(how)
    checkpoints = [resolve(model) for model in models]
    _check_attachable(checkpoints, attach)
    origin = resolve(base) if base else None
    labels = _tell_apart(checkpoints, models)
    with open_workers(ray, show.note) as workers, _watch(bool(ray), labels) as tell:
        every = evaluate_all(
            checkpoints,
            split_tasks(tasks),
            workers=workers,
            protocol=protocol,
            machine=machine,
            base=origin,
            include=include,
            unsafe_code=unsafe_code,
            tell=tell,
        )
    results = {
        label: tuple(each for some in by_name.values() for each in some)
        for label, by_name in zip(labels, every, strict=True)
    }
    if as_json:
        show.data({name: [asdict(each) for each in some] for name, some in results.items()})
    else:
        _table(results)
    if attach:
        for model, label in zip(checkpoints, labels, strict=True):
            _attach(model, results[label], how)


@contextmanager
def _watch(cluster: bool, labels: Sequence[str]) -> "Iterator[Progress]":
    """A bar of models and tasks where nodes take them; here, the model that is evaluated now."""
    if cluster:
        with show.progress("evaluating") as step:
            yield step
        return
    with show.status("evaluating") as now:
        yield lambda what, done, total: now(labels[done])


def _tell_apart(models: "Sequence[Checkpoint]", references: Sequence[str]) -> Sequence[str]:
    """The models' names; as they were given, where two have one name."""
    names = [model.name for model in models]
    return names if len(set(names)) == len(names) else references


def split_how(how: Mapping[str, Any]) -> tuple[Any, Any]:
    """The options of a command -> how tasks are put, and what runs the models."""
    from simmerge_hub.evaluation.harness import Machine
    from simmerge_hub.evaluation.results import Protocol

    of_machine = {"backend", "batch_size", "device"}
    protocol = {name: value for name, value in how.items() if name not in of_machine}
    return Protocol(**protocol), Machine(**{n: how[n] for n in of_machine if n in how})


def _table(results: Mapping[str, Sequence["TaskResult"]]) -> None:
    table = show.make_table("model", "task", "metric")
    for heading in ("score", "prompts"):
        table.add_column(heading, justify="right")
    for name, some in results.items():
        for result in some:
            for metric, value in result.metrics.items():
                texts = (name, result.task, metric)
                table.add_row(*map(show.escape, texts), f"{value:.3f}", str(result.samples))
    show.OUT.print(table)


def _check_attachable(models: "Sequence[Checkpoint]", attach: bool) -> None:
    for model in models if attach else ():
        if not model.ref.repo:
            raise RequestError(
                f"{model.name} is a folder: there is no card on the Hub to put scores on",
                hint="push it first, then evaluate it by its name with --attach",
            )


def _attach(model: "Checkpoint", results: "Sequence[TaskResult]", how: Mapping[str, Any]) -> None:
    from simmerge_hub.hub.upload.results import MeasuredScore, attach_scores
    from simmerge_hub.publishing.trust.measured import show_measured

    asked = ("limit", "seed", "fewshot", "chat_template")
    stated = {name: how[name] for name in asked if how.get(name)}
    scores = [
        MeasuredScore(
            task=result.task,
            dataset=result.dataset,
            metric=result.primary,
            value=result.score,
            arguments={"version": result.version, "samples": result.samples, **stated},
            harness=result.harness,
        )
        for result in results
        if result.score is not None
    ]
    repo = model.ref.repo
    show.commit(attach_scores(repo, scores, edit=lambda text: show_measured(repo, text)))
