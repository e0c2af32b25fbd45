"""A question -> what the library answers: the plan, its cost, the map; or why there is none.

Only asks: planning, checking and mapping are the library's.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from simmerge_hub.errors import NoSafetensors, SimmergeError
from simmerge_hub.hub.client import offline
from simmerge_hub.hub.files.cached import read_text
from simmerge_hub.hub.files.location import FileEntry, Location
from simmerge_hub.hub.reference import ModelRef, list_repository
from simmerge_hub.hub.resolve import Checkpoint, front_matter, resolve
from simmerge_hub.merger import Preflight
from simmerge_hub.planning.find.candidates import try_each
from simmerge_hub.planning.plan import Plan, plan
from simmerge_hub.progress import Say
from simmerge_hub.publishing.sections.usage import REPOSITORY
from simmerge_hub.publishing.verbs import check
from simmerge_hub.space.question import Question
from simmerge_hub.units import spell_bytes
from simmerge_hub.weights.alignment.align import align_strict
from simmerge_hub.weights.alignment.lineage import common_base
from simmerge_hub.weights.loaded.conform import conform

MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A plan, and what was noted while it was made."""

    question: Question
    plan: Plan
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all models that were signed, whether they are merged or not."""
        base = self.plan.recipe.base
        return tuple(n for n in self.plan.signatures if base is None or n != base.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What stands in the way of a plan, model by model.

    Args:
        models: what could be read.
        base: what they were made from, if it is known.
        misfits: model -> why it cannot be merged with the others.
    """

    models: tuple[Checkpoint, ...] = ()
    base: Checkpoint | None = None
    misfits: Mapping[str, str] = field(default_factory=dict)


def answer(question: Question, say: Say) -> Answer:
    """Plan what is asked.

    Raises:
        SimmergeError: as `simmerge_hub.plan`.
        NoSafetensors: weights would have to be downloaded whole, and `full` is not asked for.
    """
    if question.evidence != "full":
        say("listing files")
        refuse_pickles(question)
    notes: list[str] = []
    made = plan(*question.models, progress=say, note=notes.append, **question.options())
    return Answer(question=question, plan=made, notes=tuple(dict.fromkeys(notes)))


def refuse_pickles(question: Question) -> None:
    """Only safetensors can be read in parts: other weights are downloaded whole and converted.

    Raises:
        NoSafetensors: a model that is asked about, or what its card says it is made from, has none.
        HubError: one cannot be read.
    """
    seen: set[str] = set()
    named = [name for name in (*question.models, question.base) if name]
    while named:
        ref = ModelRef.parse(named.pop(0))
        if ref.folder is not None or offline() or str(ref) in seen:
            continue
        seen.add(str(ref))
        location, files = list_repository(ref)
        if not any(name.endswith(".safetensors") for name in files) and any(
            name.endswith(".bin") for name in files
        ):
            raise NoSafetensors(
                f"{ref} has its weights in .bin files, which would be downloaded whole",
                hint="choose to download the models under More options, or name a copy with "
                "safetensors",
            )
        if str(ref) in question.models and not question.base:
            named += _parents(location, files)


def _parents(location: Location, files: Mapping[str, FileEntry]) -> list[str]:
    """The repositories that a card says its model is made from."""
    stated = front_matter(read_text(location, files, "README.md")).get("base_model")
    several = stated if isinstance(stated, list) else [stated]
    return [name for name in several if isinstance(name, str) and REPOSITORY.fullmatch(name)]


def look(question: Question) -> Sight:
    """What of the models fits, where no plan could be made; reads headers only."""
    misfits: dict[str, str] = {}
    references: list[ModelRef] = []
    for name in question.models:
        try:
            references.append(ModelRef.parse(name))
        except SimmergeError as error:
            misfits[name] = str(error)
    models, unread = try_each(references, partial(resolve, convert=False))
    misfits |= unread
    base, strangers = _find_base(models, question.base or None)
    kin = [model for model in models if model.name not in strangers]
    _, unfit = try_each(kin, partial(_check_fit, base))
    return Sight(models=tuple(models), base=base, misfits={**misfits, **strangers, **unfit})


def _find_base(
    models: Sequence[Checkpoint], named: str | None
) -> tuple[Checkpoint | None, dict[str, str]]:
    """The base of all; else of the first that has one, and why the others are not of it."""
    try:
        return (common_base(models, named) if models else None), {}
    except SimmergeError:  # said by the plan already
        pass
    base, strangers = None, {}
    for model in models:
        try:
            own = common_base([model], named)
            if base is not None and own is not None and own.name != base.name:
                strangers[model.name] = f"was made from {own.name}, and others from {base.name}"
            base = base or own
        except SimmergeError as error:
            strangers[model.name] = str(error)
    return base, strangers


def _check_fit(base: Checkpoint | None, model: Checkpoint) -> None:
    alike = conform([model], base)
    align_strict(alike.models, alike.base)


def cost(made: Plan) -> Preflight | SimmergeError:
    """What the merge would take; or why nobody can say."""
    try:
        return check(made)
    except SimmergeError as error:
        return error


def lacks(preflight: Preflight) -> tuple[str, ...]:
    """Why the merge cannot be run on this machine; empty if it can."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    limits = {"disk": (preflight.disk, free), "memory": (preflight.memory, _memory_bytes())}
    reasons = [
        f"the merge needs {spell_bytes(needed)} of {what}, this machine has {spell_bytes(there)}"
        for what, (needed, there) in limits.items()
        if needed > 0.9 * there
    ]
    misfits = len(preflight.rejected)
    return (*reasons, *([f"{misfits} tensors do not fit"] if misfits else []))


def _memory_bytes() -> int:
    """Of this machine, or of the container if it has fewer."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(MEMORY_LIMIT.read_text()))
    except (OSError, ValueError):  # no such limit
        return whole
