"""A collection, or an author's fine-tunes of a base -> the best few, ready to be planned.

Many are listed and read, few are signed. Every model that is not among them is told why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simmerge_hub.errors import ProbeError, RequestError
from simmerge_hub.hub import listing
from simmerge_hub.hub.evaluations import read_evaluations
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.planning.ask.options import Ask, Catalogue, Tasks
from simmerge_hub.planning.ask.tasks import drop_unavailable, no_task_left
from simmerge_hub.planning.find.candidates import (
    Candidates,
    refuse,
    sift,
    too_few,
    try_each,
)
from simmerge_hub.planning.find.shortlist import Shortlist, shorten
from simmerge_hub.planning.inputs import Inputs, notes_of_tokens
from simmerge_hub.progress import Say
from simmerge_hub.weights.alignment.align import align_strict, match_rows
from simmerge_hub.weights.alignment.lineage import weight_mismatch
from simmerge_hub.weights.loaded.conform import conform


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a catalogue lists, and what became of it.

    Args:
        place: the catalogue, in words.
        base: what all were made from.
        listed: how many models it lists, the base not counted.
        shortlist: model -> task -> the score its card states, of those that are searched.
        dropped: candidate -> why it is not.
    """

    place: str
    base: str
    listed: int
    shortlist: Mapping[str, Mapping[str, float]]
    dropped: Mapping[str, str]


def find_few(
    catalogue: Catalogue, base: str | None, ask: Ask, *, progress: Say
) -> tuple[Inputs, Survey]:
    """The models of a catalogue that are worth a search, and what became of all the others.

    Args:
        catalogue: where they are listed, and how many are wanted.
        base: what they were fine-tuned from; of a collection, what most cards name by default.
        ask: the tasks, and whether probes are run.
        progress: told what is being read.

    Raises:
        RequestError: neither a collection nor an author is named, or both are.
        HubError: there is no such collection, it holds no models, or the Hub is not reached.
        AlignmentError: fewer than two of the models can be merged; the message has every reason.
        ProbeError: there is no task to merge them for.
    """
    progress("asking the Hub")
    listed = _list(catalogue, base)
    sifted = sift(listed, base, progress=progress)
    progress("comparing scores")
    short, dropped = _shorten(sifted, catalogue.shortlist, ask.tasks)
    if len(short.models) < 2:
        raise too_few(listed.place, short.models, dropped)
    inputs = _inputs(short, sifted.base, ask)
    survey = Survey(
        place=listed.place,
        base=sifted.base.name,
        listed=len(sifted.kept) + len(sifted.dropped),
        shortlist={
            name: {task.name: task.scores[name] for task in inputs.tasks if name in task.scores}
            for name in inputs.names
        },
        dropped=dropped,
    )
    return inputs, survey


def _list(catalogue: Catalogue, base: str | None) -> listing.Listing:
    collection, author = catalogue.collection, catalogue.author
    if collection is not None and author is None:
        return listing.collection(collection)
    if author is not None and base is not None and collection is None:
        return listing.models_of(author, base)
    raise RequestError(
        "a catalogue is a collection, or an author and a base",
        hint="--collection org/title-0123456789abcdef01234567, or --author org --base org/base",
    )


def _shorten(sifted: Candidates, count: int, asked: Tasks) -> tuple[Shortlist, dict[str, str]]:
    """The shortlist, and all that are not on it. Whose weights are no fine-tune's is replaced."""
    left, dropped = list(sifted.kept), dict(sifted.dropped)
    checked: set[str] = set()
    while True:
        _check_experts(asked.experts, left, dropped)
        short = shorten(left, count, asked)
        new = [model for model in short.models if model.name not in checked]
        if not new:
            return short, {**dropped, **short.passed}
        _, far = try_each(new, lambda model: _check_weights(model, sifted.base))
        checked |= {model.name for model in new}
        dropped |= far
        left = [model for model in left if model.name not in dropped]


def _check_weights(model: Checkpoint, base: Checkpoint) -> None:
    """AlignmentError if its weights are no fine-tune's, or its tokens cannot be matched."""
    refuse(weight_mismatch(model, base))
    align_strict([model], base)


def _check_experts(
    experts: Mapping[str, str], left: Sequence[Checkpoint], dropped: Mapping[str, str]
) -> None:
    """ProbeError if an expert that is named was dropped: the reason is known."""
    gone = {text: name for name in dropped for text in (name.rpartition("/")[2], name)}
    there = {text for m in left for text in (m.name.rpartition("/")[2], m.name)}
    for task, expert in experts.items():
        if expert in gone.keys() - there:
            name = gone[expert]
            raise ProbeError(
                f"the expert for {task}, {name}, cannot be merged: {dropped[name]}",
                hint="name another one",
            )


def _inputs(short: Shortlist, base: Checkpoint, ask: Ask) -> Inputs:
    """What is planned: the tasks whose probes can be had, if they are needed."""
    dropped, tasks = dict(short.dropped), short.tasks
    if ask.sources.signals != "structural":
        tasks, lost = drop_unavailable(tasks, ask.tasks, read_evaluations(short.models))
        dropped |= lost
    if not tasks:
        raise no_task_left(dropped)
    alike = conform(short.models, base)
    words = match_rows(alike)
    return Inputs(
        models=alike.models,
        base=alike.base,
        tasks=tasks,
        dropped=dropped,
        notes=(*alike.notes, *notes_of_tokens(words)),
        vocabulary=words,
    )
