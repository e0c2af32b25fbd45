"""The names of tasks that lm-evaluation-harness knows: its own, ours, and those of a folder."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from simmerge_hub.errors import EvaluationError
from simmerge_hub.evaluation.contents import check_folder, task_file
from simmerge_hub.evaluation.known import OWN_TASKS, tools_of
from simmerge_hub.names import suggest


def refuse_unknown(tasks: Sequence[str], include: Path | None = None) -> None:
    """Refuse names that the harness does not know, before anything is evaluated on them.

    No name is refused where the harness is not installed.

    Args:
        tasks: names of tasks, groups or tags, or paths of their YAML.
        include: a folder of further tasks in the harness's form.

    Raises:
        EvaluationError: one is not known, or there is no such folder.
    """
    check_folder(include)
    named = [name for name in tasks if task_file(name) is None]
    if not named or find_spec("lm_eval") is None:
        return
    known = task_manager(named, include, tools_of(include)).all_tasks
    for name in named:
        if name not in known:
            raise EvaluationError(
                f"lm-evaluation-harness has no task {name!r}",
                hint=f"{suggest_task(name, known)}name a task of `lm_eval ls tasks`, or write the "
                "folder that has it: `include: DIR`",
            )


def suggest_task(name: str, known: Sequence[str] = ()) -> str:
    """What may have been meant by a name that the harness does not know; "" if nothing is near."""
    own = [path.stem for path in OWN_TASKS.glob("*.yaml")]
    meant = suggest(name, own) or suggest(name, known)
    return f"{meant} Else " if meant else ""


def task_manager(names: Sequence[str], include: Path | None, tools: str) -> Any:
    """The harness's `TaskManager` of our own tasks and a folder's, of all if names need them."""
    own = _own_tasks(include, tools)
    return own if set(names) <= set(own.all_tasks) else _every_task(include, tools)


@cache
def _every_task(include: Path | None, tools: str) -> Any:
    """All tasks the harness knows: reading their names takes it seconds; anew as `tools` change."""
    from lm_eval.tasks import TaskManager

    folders: list[str | Path] = [p for p in (OWN_TASKS, include) if p]
    return TaskManager(include_path=folders)


@cache
def _own_tasks(include: Path | None, tools: str) -> Any:
    from lm_eval.tasks import TaskManager

    folders: list[str | Path] = [p for p in (OWN_TASKS, include) if p]
    return TaskManager(include_path=folders, include_defaults=False)
