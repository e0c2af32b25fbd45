"""Which tensors of several checkpoints match, and what does not and why. Headers only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights import adapters
from simmerge_hub.weights.stream import DTYPES, shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A tensor of one model that cannot be merged, and the reason."""

    name: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Tensor name -> shape of what matches, in the file order of the first; and what does not."""

    shapes: Mapping[str, tuple[int, ...]]
    rejected: tuple[Rejected, ...]


def align(models: Sequence[Checkpoint], base: Checkpoint | None = None) -> Alignment:
    """Compare every model (and the base) with the reference: the base, else the first model."""
    reference = base or models[0]
    wanted = shapes(reference)
    for model in models:
        if model.kind == "adapter":
            adapters.check(model, wanted)
    others = [*models, base] if base else models
    rejected = [
        r for model in others for r in _compare(reference, wanted, model, shapes(model, base))
    ]
    refused = {r.name for r in rejected}
    return Alignment(
        shapes={n: s for n, s in wanted.items() if n not in refused}, rejected=tuple(rejected)
    )


def aligned(models: Sequence[Checkpoint], base: Checkpoint | None = None) -> Alignment:
    """`align`, or AlignmentError if anything is rejected: nothing is merged by halves."""
    found = align(models, base)
    if found.rejected:
        first = found.rejected[0]
        more = len(found.rejected) - 1
        others = f" (and {more} more)" if more else ""
        raise AlignmentError(
            f"{first.model} does not fit: {first.name} {first.reason}{others}",
            hint="merge fine-tunes of one base model with one vocabulary",
        )
    return found


def _compare(
    reference: Checkpoint,
    wanted: Mapping[str, tuple[int, ...]],
    model: Checkpoint,
    found: Mapping[str, tuple[int, ...]],
) -> list[Rejected]:
    reasons = {
        name: _reason(shape, found.get(name), reference.name) for name, shape in wanted.items()
    }
    reasons |= {n: f"is not in {reference.name}" for n in found if n not in wanted}
    reasons |= {
        n: f"is stored as {h.dtype}, which cannot be merged"
        for n, h in model.tensors.items()
        if h.dtype not in DTYPES
    }
    return [Rejected(name=n, model=model.name, reason=r) for n, r in reasons.items() if r]


def _reason(wanted: tuple[int, ...], found: tuple[int, ...] | None, reference: str) -> str:
    if found is None:
        return f"is in {reference} only"
    if found == wanted:
        return ""
    same_width = len(found) == len(wanted) == 2 and found[1] == wanted[1]
    kind = "has another vocabulary size" if same_width else "has another shape"
    return f"{kind}: {list(found)}, in {reference} {list(wanted)}"
