"""One model, some tasks -> what it scored, by lm-evaluation-harness; measured once, then kept.

The harness's Python API does the work (`simple_evaluate`); this module hands it a folder with the
pinned files of a model, so that nothing is downloaded that was not pinned and no code of a
repository is run.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any, Literal

from simmerge_hub.errors import EvaluationError, MissingExtra
from simmerge_hub.evaluation.known import base_of, keep, look_up, tools_of
from simmerge_hub.evaluation.names import suggest_task, task_manager
from simmerge_hub.evaluation.report import read_result
from simmerge_hub.evaluation.results import Protocol, TaskResult
from simmerge_hub.hub.resolve import Checkpoint

CPU_BATCH = 32
"""The harness finds a GPU's largest batch by running out of memory; a CPU's memory is shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What runs the models; scores do not depend on it, but for rounding.

    Args:
        backend: `vllm` where vLLM and a GPU are there, else `hf` (transformers), if `auto`.
        batch_size: `auto`: the largest that fits on a GPU; 32 on a CPU.
        device: as torch calls it; `auto`: a GPU where torch finds one.
    """

    backend: Literal["auto", "hf", "vllm"] = "auto"
    batch_size: str = "auto"
    device: str = "auto"


UNKNOWN_TASK = re.compile(r"'([^']+)' is not a registered")
"""In what the harness says of a name that it does not know."""
DEFAULT_PROTOCOL, DEFAULT_MACHINE = Protocol(), Machine()


def evaluate(
    model: Checkpoint,
    tasks: Sequence[str],
    *,
    protocol: Protocol = DEFAULT_PROTOCOL,
    machine: Machine = DEFAULT_MACHINE,
    base: Checkpoint | None = None,
    include: Path | None = None,
    unsafe_code: bool | None = None,
    tell: Callable[[TaskResult, bool], None] = lambda result, kept: None,
) -> dict[str, tuple[TaskResult, ...]]:
    """What `model` scores on each of `tasks`; one that was measured before is not run again.

    The model is loaded once for all that is missing. A name of a group or tag has several results.

    Args:
        model: a full model, or an adapter.
        tasks: names the harness knows, of tasks, groups or tags; paths of its YAML; our own.
        protocol: how tasks are put.
        machine: what runs the model.
        base: what an adapter belongs to; by default what it says.
        include: a folder of further tasks in the harness's form.
        unsafe_code: whether tasks may run code that the model writes; None: they may not, and
            who asks has no option that lets them.
        tell: called with each result, and whether it was known.

    Raises:
        MissingExtra: lm-eval is not installed.
        EvaluationError: a task is not known, its data cannot be had, or the model not be run.
    """
    check_installed()
    base, tools = base_of(model, base), tools_of(include)
    known = look_up(model, tasks, protocol=protocol, base=base, include=include)
    missing = [name for name, each in known.items() if each.results is None]
    runner = _Runner(model, base, protocol, machine)
    fresh = _run(runner, missing, include, unsafe_code, tools) if missing else {}
    for name, results in fresh.items():
        keep(known[name].key, model, name, results)
    every = {name: fresh.get(name) or each.results or () for name, each in known.items()}
    for name, results in every.items():
        for result in results:
            tell(result, name not in fresh)
    return every


def check_installed() -> None:
    """Raise MissingExtra unless the harness is there."""
    if find_spec("lm_eval") is None:
        raise MissingExtra(
            "evaluations need lm-evaluation-harness, which is not installed",
            hint="install the extra eval: pip install 'simmerge-hub[eval]'",
        )


class _Runner:
    """A model that is loaded when the first task asks for it, and once."""

    def __init__(
        self, model: Checkpoint, base: Checkpoint | None, protocol: Protocol, machine: Machine
    ) -> None:
        self.model, self.base, self.protocol = model, base, protocol
        self.backend, self.batch_size, self.device = choose_machine(machine)
        self._loaded: Any = None

    def load(self) -> Any:
        """The harness's object for the model."""
        if self._loaded is None:
            from lm_eval.api.registry import get_model

            arguments = model_arguments(self.model, self.base, self.backend, self.protocol.dtype)
            extra = {"batch_size": self.batch_size, "device": self.device}
            self._loaded = get_model(self.backend).create_from_arg_obj(arguments, extra)
        return self._loaded


def choose_machine(machine: Machine) -> tuple[str, str, str]:
    """(backend, batch size, device), with `auto` decided by what is there."""
    import torch

    gpu = torch.cuda.is_available()
    device = machine.device if machine.device != "auto" else "cuda" if gpu else "cpu"
    on_gpu = device.startswith("cuda")
    backend = machine.backend
    if backend == "auto":
        backend = "vllm" if on_gpu and find_spec("vllm") else "hf"
    batch = machine.batch_size
    if batch == "auto" and not on_gpu:
        batch = str(CPU_BATCH)
    return backend, batch, device


def model_arguments(
    model: Checkpoint, base: Checkpoint | None, backend: str, dtype: str
) -> dict[str, Any]:
    """What the harness is told of a model: folders of pinned files, and no code but ours."""
    from simmerge_hub.signatures.probing.loading import model_folder

    known = {"dtype": dtype, "trust_remote_code": False}
    if model.kind == "full":
        return known | {"pretrained": str(model_folder(model))}
    assert base is not None
    folders = {"pretrained": str(model_folder(base))}
    adapter = "lora_local_path" if backend == "vllm" else "peft"
    return known | folders | {adapter: str(model_folder(model))}


def _run(
    runner: _Runner,
    names: Sequence[str],
    include: Path | None,
    unsafe_code: bool | None,
    tools: str,
) -> dict[str, tuple[TaskResult, ...]]:
    """Name -> its results: of a task, or of all of a group or tag."""
    protocol, began = runner.protocol, perf_counter()
    with _quiet(), _translate_errors(runner.model.name, names, unsafe_code):
        import lm_eval

        manager = task_manager(names, include, tools)
        parts = {name: manager.load([name]) for name in names}
        drawn = _draw_samples(parts, protocol)
        simple_evaluate: Any = lm_eval.simple_evaluate  # its decorator hides what it takes
        report = simple_evaluate(
            runner.load(),
            tasks=list(names),
            task_manager=manager,
            num_fewshot=protocol.fewshot,
            limit=None if drawn else protocol.limit,
            samples=drawn,
            apply_chat_template=protocol.chat_template,
            bootstrap_iters=0,
            confirm_run_unsafe_code=bool(unsafe_code),
        )
    seconds = (perf_counter() - began) / len(report["results"])
    return {
        name: tuple(
            replace(
                read_result(report, task, seconds, runner.backend), group=task in part["groups"]
            )
            for task in (*part["groups"], *part["tasks"])
            if task in report["results"]
        )
        for name, part in parts.items()
    }


def _draw_samples(
    parts: Mapping[str, Mapping[str, Any]], protocol: Protocol
) -> dict[str, list[int]] | None:
    """Task -> numbers of the prompts that the seed draws; None where there is nothing to draw."""
    if protocol.seed is None or protocol.limit is None:
        return None
    return {
        task: draw_numbers(len(each.eval_docs), protocol.limit, f"{task}/{protocol.seed}")
        for part in parts.values()
        for task, each in part["tasks"].items()
    }


def draw_numbers(there: int, count: int, seed: str) -> list[int]:
    """`count` of the numbers below `there`, sorted; a larger count holds those of a smaller."""
    numbers = list(range(there))
    Random(seed).shuffle(numbers)
    return sorted(numbers[:count])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Its warnings off, and those of what it stands on; progress bars only where a person watches.

    It also asks git for the commit of the folder one stands in, which nobody reads, and git
    complains on the terminal where there is none.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    evaluator: Any = import_module("lm_eval.evaluator")
    evaluator.get_git_commit_hash = lambda: None
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", FutureWarning)  # for those who write the harness
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield


@contextlib.contextmanager
def _translate_errors(model: str, tasks: Sequence[str], unsafe_code: bool | None) -> Iterator[None]:
    """Whatever the harness, a task's code or a model ends in, as an error of ours."""
    try:
        yield
    except Exception as error:  # tasks are programs of others
        said = " ".join(str(error).split())[:300]
        unknown = UNKNOWN_TASK.search(said)
        why = f"there is no task {unknown[1]}" if unknown else f"{type(error).__name__}: {said}"
        raise EvaluationError(
            f"{model} cannot be evaluated on {', '.join(tasks)}: {why}",
            hint=_remedy(error, unsafe_code),
        ) from error


def _remedy(error: Exception, unsafe_code: bool | None) -> str:
    said = str(error).lower()
    if unknown := UNKNOWN_TASK.search(" ".join(str(error).split())):
        meant = suggest_task(unknown[1])
        return f"{meant}name a task of `lm_eval ls tasks`, or the YAML file of one"
    if "unsafe" in said and unsafe_code is None:
        return "name a task that does not run what the model writes"
    if "unsafe" in said:
        return "if you trust what the model writes: --unsafe-code"
    if isinstance(error, OSError | ConnectionError) or "offline" in said:
        return "its dataset must be reachable, or in the cache of `datasets`"
    return "try it in the harness itself: lm_eval --model hf --tasks …"
