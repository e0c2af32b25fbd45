"""What a catalogue lists -> checkpoints that can be merged, each kept or dropped with a reason.

Reads headers, and nothing else of the weights. A repository is what a stranger put on the Hub:
whatever is wrong with one of them is its reason, and does not end the others.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from simmerge_hub.errors import AlignmentError, BaseUnknown, SimmergeError
from simmerge_hub.hub.digest import file_sha256
from simmerge_hub.hub.listing import REPO, Listing
from simmerge_hub.hub.resolve import Checkpoint, ModelRef, resolve
from simmerge_hub.planning.ask.options import Say
from simmerge_hub.planning.ask.tasks import stated_tasks
from simmerge_hub.weights.alignment.align import align_strict
from simmerge_hub.weights.alignment.lineage import card_mismatch

WORKERS = 8
"""Repositories that are read at a time."""
LONGEST = 300
"""Characters of a reason."""
NAMED = 6
"""Names that stand beside a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """The candidates that fit a base, in the catalogue's order, and why the others do not."""

    base: Checkpoint
    kept: tuple[Checkpoint, ...]
    dropped: Mapping[str, str]


def sift(listed: Listing, base: str | None = None, *, progress: Say) -> Sifted:
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
    wanted = [r for r in listed.references if known is None or r.repo != known.name]
    found = _each(wanted, _read, lambda done: progress(f"reading headers ({done}/{len(wanted)})"))
    read: list[Checkpoint] = []
    for ref, result in zip(wanted, found, strict=True):
        if isinstance(result, str):
            dropped[ref.repo] = result
        else:
            read.append(result)
    if len(read) < 2:
        raise too_few(listed.place, read, dropped)
    origin = known or _most_named(listed.place, read)
    models = [model for model in read if model.name != origin.name]
    reasons = _each(
        models,
        lambda model: _unfit(model, origin),
        lambda done: progress(f"comparing headers ({done}/{len(models)})"),
    )
    dropped |= {m.name: reason for m, reason in zip(models, reasons, strict=True) if reason}
    dropped |= _copies([model for model in models if model.name not in dropped], origin)
    kept = tuple(model for model in models if model.name not in dropped)
    if len(kept) < 2:
        raise too_few(listed.place, kept, dropped)
    return Sifted(base=origin, kept=kept, dropped=dropped)


def spoken(text: object, name: str = "") -> str:
    """A reason that may be printed: no control characters, not too long, without the name."""
    plain = "".join(c if c.isprintable() else " " for c in str(text))
    short = plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"
    return short.removeprefix(f"{name} ").removeprefix(f"{name}: ") if name else short


def grouped(dropped: Mapping[str, str]) -> dict[str, list[str]]:
    """Reason -> the names it holds for."""
    found: dict[str, list[str]] = {}
    for name, reason in dropped.items():
        found.setdefault(reason, []).append(name)
    return found


def too_few(place: str, left: Sequence[Checkpoint], dropped: Mapping[str, str]) -> AlignmentError:
    """The error that no merge is left to plan, with every reason."""
    lines = []
    for reason, names in grouped(dropped).items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        lines.append(f"\n  {', '.join(names[:NAMED])}{more}: {reason}")
    kept = f"only {left[0].name} is left" if left else "none is left"
    return AlignmentError(
        f"two models make a merge, and of {place} {kept}{''.join(lines)}",
        hint="name models that can be merged: simmerge-hub plan MODEL MODEL",
    )


def _each(items: Sequence[Any], work: Callable[[Any], Any], say: Callable[[int], None]) -> list:
    """`work` on every item, some at a time, in their order."""

    def counted(results: Iterator[Any]) -> Iterator[Any]:
        for done, result in enumerate(results, 1):
            say(done)
            yield result

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(counted(pool.map(work, items)))


def _read(ref: ModelRef) -> Checkpoint | str:
    try:
        return resolve(ref, convert=False)
    except SimmergeError as error:
        return spoken(error, ref.repo)
    except Exception as error:  # what strangers put on the Hub may break anything
        return f"cannot be read ({type(error).__name__})"


def _unfit(model: Checkpoint, base: Checkpoint) -> str:
    """Why a model is no fine-tune of the base, as far as headers and cards say."""
    try:
        if reason := card_mismatch(model, base):
            return spoken(reason)
        align_strict([model], base)
    except SimmergeError as error:
        return spoken(error, model.name)
    except Exception as error:
        return f"cannot be compared with {base.name} ({type(error).__name__})"
    return ""


def _copies(models: Sequence[Checkpoint], base: Checkpoint) -> dict[str, str]:
    """The models that add nothing to the others; of equal ones that with scores is kept."""
    dropped: dict[str, str] = {}
    first: dict[Any, Checkpoint] = {}
    same = _weights(base)
    for model in sorted(models, key=lambda model: not stated_tasks(model)):
        try:
            weights = _weights(model)
        except SimmergeError as error:
            dropped[model.name] = spoken(error, model.name)
            continue
        other = first.setdefault(weights, model)
        if weights == same:
            dropped[model.name] = f"has the weights of {base.name} itself"
        elif other is not model:
            dropped[model.name] = f"has the same weights as {other.name}"
    return dropped


def _weights(model: Checkpoint) -> tuple[Any, ...]:
    """Equal weights, equal value; the Hub states the hash of the files."""
    files = sorted({header.file for header in model.tensors.values()})
    hashes = tuple(file_sha256(model, name) for name in files)
    scale = [str(model.config.get(key)) for key in ("r", "lora_alpha", "use_rslora")]
    return (model.kind, hashes, *(scale if model.kind == "adapter" else ()))


def _most_named(place: str, models: Sequence[Checkpoint]) -> Checkpoint:
    """The base that most cards name."""
    counts = Counter(
        model.parents[0]
        for model in models
        if len(model.parents) == 1 and REPO.fullmatch(model.parents[0])
    )
    if not counts:
        raise BaseUnknown(
            f"no card in {place} names the model that it was made from",
            hint="name it: --base org/base",
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
            f"most of {place} are made from {first}, which cannot be read: {spoken(error)}",
            hint="name a copy of it with --base",
        ) from error
