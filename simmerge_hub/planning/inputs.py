"""References -> pinned models that fit together, their base, and what they are merged for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.digest import hash_together, weights_of
from simmerge_hub.hub.evaluations import read_evaluations
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.planning.ask.options import Tasks
from simmerge_hub.planning.ask.tasks import Task, drop_unavailable, no_task_left, tasks_of
from simmerge_hub.weights.adapters.kinds import other_base
from simmerge_hub.weights.alignment.align import align_strict
from simmerge_hub.weights.alignment.lineage import base_notes, common_base
from simmerge_hub.weights.loaded.conform import Conformed, conform
from simmerge_hub.weights.tokens.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Pinned models that fit together, their base, and the tasks they are merged for.

    `dropped` maps the tasks that are left out to the reason; `notes` are sentences about what was
    taken for what. `vocabulary` is how rows of tokens correspond, where vocabularies differ.
    """

    models: tuple[Checkpoint, ...]
    base: Checkpoint | None
    tasks: tuple[Task, ...]
    dropped: Mapping[str, str]
    notes: tuple[str, ...] = ()
    vocabulary: Vocabulary | None = None

    @property
    def names(self) -> list[str]:
        """Of the models."""
        return [model.name for model in self.models]

    @property
    def uncompared(self) -> frozenset[str]:
        """Tensors whose rows are other tokens in some models: signatures sample them by row."""
        return self.vocabulary.tensors if self.vocabulary else frozenset()

    @property
    def known(self) -> dict[str, dict[str, float]]:
        """Task -> model -> its utility without any merge, where cards state it."""
        return {task.name: task.relative for task in self.tasks}

    def partner(self, model: str) -> str:
        """Of two models, the other one."""
        (other,) = [name for name in self.names if name != model]
        return other

    @property
    def parameters(self) -> int | None:
        """How many the base (or the first model) has; None for an adapter."""
        whole = self.base or self.models[0]
        if whole.kind != "full":
            return None
        return sum(header.entries for header in whole.tensors.values())


def pin(
    references: Sequence[str], base: str | None, asked: Tasks, *, probed: bool = False
) -> Inputs:
    """Pin what the user names, check that it fits together, and find the tasks.

    Of weights on the Hub headers are read, and a few rows of each model beside its base's; weight
    files that no Hub states a sha256 of (of folders, small ones, .bin) are read whole.

    Args:
        references: the models.
        base: what they were fine-tuned from, if their cards do not say.
        asked: what they are merged for, if their cards do not say.
        probed: whether tasks need their probes: one of a card's whose probes cannot be had is left
            out.

    Raises:
        SimmergeError: the models cannot be merged, or nobody says what they are good at.
    """
    models = [resolve(reference) for reference in references]
    check_names(models, None)
    origin = common_base(models, base)
    check_names(models, origin)
    said = base_notes(models, origin)
    alike = conform(models, origin)
    aligned = align_strict(alike.models, alike.base)
    _check_copies(models, origin)
    twice = _notes_of_bases(alike)
    tasks, dropped = tasks_of(models, asked, probed=probed)
    if probed:
        tasks, lost = drop_unavailable(tasks, asked, read_evaluations(models))
        dropped |= lost
    if not tasks:
        raise no_task_left(dropped)
    return Inputs(
        models=alike.models,
        base=alike.base,
        tasks=tasks,
        dropped=dropped,
        notes=(
            *said,
            *alike.notes,
            *(note for note in aligned.notes if note not in twice),
            *notes_of_tokens(aligned.vocabulary),
        ),
        vocabulary=aligned.vocabulary,
    )


def _notes_of_bases(alike: Conformed) -> set[str]:
    """What alignment says of adapters that name another base, which `base_notes` says of all."""
    adapters = [model for model in alike.models if model.kind == "adapter"]
    return {note for each in adapters if alike.base for note in other_base(each, alike.base)}


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


def _check_copies(models: Sequence[Checkpoint], base: Checkpoint | None) -> None:
    """A copy under another name adds nothing, whatever would be predicted of such a pair."""
    seen: dict[object, Checkpoint] = {}
    checkpoints = [*([base] if base else []), *models]
    hash_together(checkpoints)
    for checkpoint in checkpoints:
        other = seen.setdefault(weights_of(checkpoint), checkpoint)
        if other is not checkpoint:
            raise AlignmentError(
                f"{checkpoint.name} has the same weights as {other.name}: merging them changes "
                "nothing",
                hint="name each model once, under one of its names",
            )


def notes_of_tokens(words: Vocabulary | None) -> list[str]:
    """What a plan makes of vocabularies that differ."""
    if words is None:
        return []
    reference, rows = next(iter(words.rows.items()))
    others = "".join(f", {name} {held}" for name, held in words.rows.items() if held != rows)
    held = f"rows: {reference} {rows}{others}" if others else f"{rows} rows each"
    return [
        f"the vocabularies differ ({held}): embeddings are merged token by token, and left out of "
        "what is compared here"
    ]
