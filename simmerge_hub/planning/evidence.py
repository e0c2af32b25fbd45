"""What a plan is made from: names that tell models apart, probes that are run, signatures."""

from collections.abc import Callable, Sequence

from simmerge_hub.errors import AlignmentError, ProbeError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.planning.tasks import Task
from simmerge_hub.signatures.probe import ProbeSet
from simmerge_hub.signatures.signature import Request, Signed

Progress = Callable[[str], None]
"""Called with what is being done now, for people to read."""


def probed(tasks: Sequence[Task], signals: str) -> Sequence[Task]:
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


def check_names(models: Sequence[Checkpoint], base: Checkpoint | None) -> None:
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


def signatures_of(
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
