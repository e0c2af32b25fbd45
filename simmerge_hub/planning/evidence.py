"""What a plan is made from: models that fit together, what they are merged for, signatures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from simmerge_hub.errors import AlignmentError, ProbeError
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.planning.tasks import Task, tasks_of
from simmerge_hub.signatures.probing.probe import ProbeSet, probe_set
from simmerge_hub.signatures.published.shared import signed
from simmerge_hub.signatures.signing.signature import Request, Signature, Signed
from simmerge_hub.weights.alignment.align import align_strict
from simmerge_hub.weights.alignment.lineage import common_base

Progress = Callable[[str], None]
"""Called with what is being done now, for people to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Pinned models that fit together, their base, and the tasks they are merged for.

    `dropped` maps the tasks that are left out to the reason.
    """

    models: tuple[Checkpoint, ...]
    base: Checkpoint | None
    tasks: tuple[Task, ...]
    dropped: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """Of the models."""
        return [model.name for model in self.models]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured: the probes by task, and by name every model's signature and the base's."""

    probes: Mapping[str, ProbeSet]
    signed: Mapping[str, Signed]

    @property
    def signatures(self) -> dict[str, Signature]:
        """Name -> signature."""
        return {name: each.signature for name, each in self.signed.items()}

    @property
    def origins(self) -> dict[str, Mapping[str, str]]:
        """Name -> where the parts of the signature came from."""
        return {name: each.origins for name, each in self.signed.items()}


def gathered(
    references: Sequence[str],
    base: str | None,
    experts: Mapping[str, str] | None,
    probes: Mapping[str, str] | None,
    infer: Sequence[str] = (),
) -> Inputs:
    """Pin what the user names, check that it fits together, and find the tasks; headers only.

    Raises:
        SimmergeError: the models cannot be merged, or nobody says what they are good at.
    """
    checkpoints = [resolve(reference) for reference in references]
    check_names(checkpoints, None)
    found = common_base(checkpoints, base)
    check_names(checkpoints, found)
    align_strict(checkpoints, found)
    tasks, dropped = tasks_of(checkpoints, experts, probes, infer)
    return Inputs(models=tuple(checkpoints), base=found, tasks=tasks, dropped=dropped)


def measured(
    inputs: Inputs,
    *,
    signals: Literal["full", "structural"],
    signatures: Sequence[str],
    progress: Progress,
    note: Progress | None,
) -> Evidence:
    """Sign the models and the base: from caches, from what is published, else by computing it.

    Args:
        inputs: what is signed, and the tasks whose probes are run.
        signals, signatures, progress, note: as of `plan`.
    """
    probes = {t.name: probe_set(t.name, t.probes) for t in probed(inputs.tasks, signals)}
    found: dict[str, Signed] = {}
    for checkpoint in [*inputs.models, *([inputs.base] if inputs.base else [])]:
        progress(f"signing {checkpoint.name}")
        found[checkpoint.name] = signed(
            Request(checkpoint=checkpoint, base=inputs.base, probe_sets=tuple(probes.values())),
            third_parties=signatures,
            progress=lambda what, done, total: progress(f"{what} ({done}/{total})"),
            note=note,
        )
    return Evidence(probes=probes, signed=found)


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
