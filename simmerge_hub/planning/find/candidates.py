"""What a catalogue lists -> checkpoints that can be merged, each kept or dropped with a reason.

Reads headers, and nothing else of the weights. A repository is what a stranger put on the Hub:
whatever is wrong with one of them is its reason, and does not end the others; what is wrong with
this program does.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from simmerge_hub.errors import AlignmentError, BaseUnknown, SimmergeError
from simmerge_hub.hub.digest import weights_of
from simmerge_hub.hub.listing import LISTED_NAME, Listing
from simmerge_hub.hub.resolve import Checkpoint, ModelRef, resolve
from simmerge_hub.names import list_first
from simmerge_hub.planning.ask.tasks import tasks_on_card
from simmerge_hub.progress import Say
from simmerge_hub.weights.alignment.align import align_strict
from simmerge_hub.weights.alignment.lineage import card_mismatch

Item = TypeVar("Item", ModelRef, Checkpoint)
Result = TypeVar("Result")

WORKERS = 8
"""Repositories that are read at a time."""
LONGEST_REASON = 300
"""Characters of a reason."""
NAMES_SHOWN = 6
"""Names that stand beside a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The candidates that fit a base, in the catalogue's order, and why the others do not."""

    base: Checkpoint
    kept: tuple[Checkpoint, ...]
    dropped: Mapping[str, str]


def sift(listed: Listing, base: str | None = None, *, progress: Say) -> Candidates:
    """Read what a catalogue lists, find the base, and drop what cannot be merged with the rest.

    Args:
        listed: the references.
        base: what they were fine-tuned from; by default what most of their cards name.
        progress: told how many are read.

    Raises:
        BaseUnknown: no card names a base, or two are named equally often.
        AlignmentError: fewer than two are left.
    """
    dropped = dict(listed.dropped)
    known = resolve(base) if base is not None else None
    wanted = [ref for ref in listed.references if known is None or ref.repo != known.name]
    read, unread = try_each(
        wanted,
        partial(resolve, convert=False),
        lambda done: progress(f"reading headers ({done}/{len(wanted)})"),
    )
    dropped |= unread
    if len(read) < 2:
        raise too_few(listed.place, read, dropped)
    origin = known or most_named(listed.place, read)
    models = [model for model in read if model.name != origin.name]
    _, unfit = try_each(
        models,
        partial(_check_fit, base=origin),
        lambda done: progress(f"comparing headers ({done}/{len(models)})"),
    )
    dropped |= unfit
    dropped |= _copies([model for model in models if model.name not in dropped], origin)
    kept = tuple(model for model in models if model.name not in dropped)
    if len(kept) < 2:
        raise too_few(listed.place, kept, dropped)
    return Candidates(base=origin, kept=kept, dropped=dropped)


def try_each(
    items: Sequence[Item],
    work: Callable[[Item], Result],
    say: Callable[[int], None] = lambda _: None,
) -> tuple[list[Result], dict[str, str]]:
    """The results of `work`, in the order of the items, and by name why some items have none.

    Args:
        items: some are worked on at a time.
        work: what is done with each. Errors of ours and of files are reasons; any other error is a
            bug, and is raised.
        say: told how many are done.
    """

    def attempt(item: Item) -> tuple[Result | None, str | None]:
        try:
            return work(item), None
        except SimmergeError as error:
            return None, spell_reason(error, item.name)
        except OSError as error:
            return None, f"cannot be read ({type(error).__name__})"

    outcomes: list[tuple[Any, str | None]] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for outcome in pool.map(attempt, items):
            outcomes.append(outcome)
            say(len(outcomes))
    pairs = zip(items, outcomes, strict=True)
    reasons = {item.name: why for item, (_, why) in pairs if why is not None}
    return [result for result, why in outcomes if why is None], reasons


def refuse(reason: str) -> None:
    """AlignmentError if there is a reason."""
    if reason:
        raise AlignmentError(reason)


def spell_reason(text: object, name: str = "") -> str:
    """A reason that may be printed: no control characters, not too long, without the name."""
    plain = "".join(c if c.isprintable() else " " for c in str(text))
    short = plain if len(plain) <= LONGEST_REASON else f"{plain[: LONGEST_REASON - 1]}…"
    return short.removeprefix(f"{name} ").removeprefix(f"{name}: ") if name else short


def group_reasons(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Reason -> the names it holds for."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return names


def too_few(place: str, left: Sequence[Checkpoint], dropped: Mapping[str, str]) -> AlignmentError:
    """The error that no merge is left to plan, with every reason."""
    reasons = group_reasons(dropped).items()
    lines = (f"\n  {list_first(names, NAMES_SHOWN)}: {reason}" for reason, names in reasons)
    kept = f"only {left[0].name} is left" if left else "none is left"
    return AlignmentError(
        f"two models make a merge, and of {place} {kept}{''.join(lines)}",
        hint="name models that can be merged: simmerge-hub plan MODEL MODEL",
    )


def _check_fit(model: Checkpoint, base: Checkpoint) -> None:
    """AlignmentError if a model is no fine-tune of the base, as far as headers and cards say."""
    refuse(card_mismatch(model, base))
    align_strict([model], base, headers_only=True)


def _copies(models: Sequence[Checkpoint], base: Checkpoint) -> dict[str, str]:
    """The models that add nothing to the others; of equal ones that with scores is kept."""
    hashed, dropped = try_each(models, lambda model: (model, weights_of(model)))
    first: dict[Any, Checkpoint] = {weights_of(base): base}
    for model, weights in sorted(hashed, key=lambda each: not tasks_on_card(each[0])):
        other = first.setdefault(weights, model)
        if other is base:
            dropped[model.name] = f"has the weights of {base.name} itself"
        elif other is not model:
            dropped[model.name] = f"has the same weights as {other.name}"
    return dropped


def most_named(place: str, models: Sequence[Checkpoint]) -> Checkpoint:
    """The base that most cards name.

    Raises:
        BaseUnknown: no card names one, two are named equally often, or it cannot be read.
    """
    counts = Counter(
        model.parents[0]
        for model in models
        if len(model.parents) == 1 and LISTED_NAME.fullmatch(model.parents[0])
    )
    if not counts:
        raise BaseUnknown(
            f"no card in {place} names the model that it was made from",
            hint="name it: --base org/base, or `base: org/base` in a recipe",
        )
    (first, most), *others = counts.most_common(2)
    if others and others[0][1] == most:
        raise BaseUnknown(
            f"of {place} as many models are made from {first} as from {others[0][0]} ({most})",
            hint=f"say which: --base {first}",
        )
    listed = next((model for model in models if model.name == first), None)
    try:
        return listed or resolve(ModelRef(repo=first))
    except SimmergeError as error:
        raise BaseUnknown(
            f"most of {place} are made from {first}, which cannot be read: {spell_reason(error)}",
            hint="name a copy of it with --base",
        ) from error
