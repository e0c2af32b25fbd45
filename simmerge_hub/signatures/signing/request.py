"""What is asked of signing, what comes back, and who else may be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from simmerge_hub.errors import NotSigned
from simmerge_hub.hub.digest import ENDS, digest, stated_generation
from simmerge_hub.hub.files.cached import is_cached
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.progress import Note
from simmerge_hub.signatures.probing.dosing.response import Response
from simmerge_hub.signatures.probing.probe import ProbeSet
from simmerge_hub.signatures.signing.artifact import DEFAULT_SETTINGS, Settings, Signature
from simmerge_hub.units import spell_bytes

WEIGHTS = "weights"
"""What the structural part is called where its origin is told; a sketch is called by its task."""
CACHE, COMPUTED = "cache", "computed"
Confirm = Callable[[str, int], None]
_CONFIRM: ContextVar[Confirm | None] = ContextVar("confirm", default=None)
DOSE = "dose of {task}"
"""What a response is called where its origin is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be signed: a model, or an adapter and its base; which probe sets, and how.

    `dosed` are the tasks of those probe sets whose answers the model is asked for, to be read at
    parts of its delta; without a base, or for the base itself, there is no delta. Unless
    `run`, it is not run: its sketches must be known already, and what else is not is left out.
    """

    checkpoint: Checkpoint
    base: Checkpoint | None = None
    probe_sets: tuple[ProbeSet, ...] = ()
    settings: Settings = DEFAULT_SETTINGS
    dosed: frozenset[str] = frozenset()
    run: bool = True

    @property
    def adapter_base(self) -> Checkpoint | None:
        """The base, if it is part of what is signed."""
        return self.base if self.checkpoint.kind == "adapter" else None

    @property
    def identity(self) -> str:
        """The digest of the content; of an adapter's and its base's; under which names it is."""
        several = [self.checkpoint, *([self.adapter_base] if self.adapter_base else [])]
        return "+".join(digest(c) + (f":{c.naming}" if c.naming else "") for c in several)

    @property
    def origin(self) -> str:
        """The digest of the base's content; "" where there is no delta."""
        if self.base is None or self.checkpoint.location == self.base.location:
            return ""
        return digest(self.base)

    @property
    def ends(self) -> str:
        """The tokens that end its answers, if it says so elsewhere than in its config."""
        return str(stated_generation(self.adapter_base or self.checkpoint).get(ENDS, ""))

    def missing(self, responses: Mapping[str, Response]) -> list[ProbeSet]:
        """The probe sets of tasks that are to be dosed and are not."""
        asked = self.dosed - responses.keys() if self.origin else ()
        return [probes for probes in self.probe_sets if probes.task in asked]

    def refuse_to_run(self, missing: Sequence[ProbeSet]) -> None:
        """NotSigned if it must not be run, and something is known only by running it."""
        if missing and not self.run:
            tasks = ", ".join(probes.task for probes in missing)
            raise NotSigned(
                f"{self.checkpoint.name} has no published signature of what it does on {tasks}",
                hint="have it run, or compare weights alone: --signals structural",
            )

    def announce_download(self, base: Checkpoint | None, note: Note | None) -> None:
        """Say how many bytes of weights are fetched to run the model, and a base beside it."""
        size = sum(_bytes_to_download(each) for each in (self.checkpoint, base) if each)
        if not size:
            return
        if note:
            note(f"{self.checkpoint.name}: {spell_bytes(size)} are downloaded to run its probes")
        if confirm := _CONFIRM.get():
            confirm(self.checkpoint.name, size)


@contextmanager
def confirming(confirm: Confirm) -> Iterator[None]:
    """Inside, `confirm` is called with a model and bytes before these are downloaded to run it.

    What it raises keeps them from being downloaded.
    """
    token = _CONFIRM.set(confirm)
    try:
        yield
    finally:
        _CONFIRM.reset(token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signature, and where each part came from.

    Args:
        signature: of the model.
        origins: `weights`, a task, or `dose of` a task -> cache, computed, or a repository.
        speed: tokens a second of the pass over its probes; None if none was run.
    """

    signature: Signature
    origins: Mapping[str, str]
    speed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A signature that was found somewhere and may be believed, and where that was."""

    signature: Signature
    place: str


Lookup = Callable[[Request, Signature | None], Hit | None]
"""Looks for the signature of a request in one place; is handed its structure if that is known."""


def _bytes_to_download(checkpoint: Checkpoint) -> int:
    """Bytes of the weight files that are not here yet."""
    files = {header.file for header in checkpoint.tensors.values()}
    away = (f for f in files if not is_cached(checkpoint.weights, f))
    return sum(checkpoint.files[f].size for f in away)
