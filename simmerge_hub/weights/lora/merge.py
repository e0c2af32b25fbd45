"""What a merged adapter will be, from headers; then its modules, computed one by one."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from simmerge_hub.errors import AlignmentError, CheckpointError, OperatorError
from simmerge_hub.hub.files.headers import TensorHeader
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.adapters import Lora
from simmerge_hub.weights.lora.combination import Combine, check_weights
from simmerge_hub.weights.lora.factors import Factors, Product, factorize, truncate
from simmerge_hub.weights.lora.sources import (
    Source,
    common_base,
    common_revision,
    common_task,
    read_base,
    read_lora,
    read_source,
    turned_modules,
)
from simmerge_hub.weights.lora.tokens import refuse_other_rows
from simmerge_hub.weights.lora.whole import Whole, compare_values, match_whole
from simmerge_hub.weights.shapes import OUTPUT_CODES
from simmerge_hub.weights.stream import download

Mix = Callable[[int, Tensor], Tensor]
"""(number of an adapter, rows float32 [n, in]) -> the rows times that adapter's Mᵢ [in, in].

The Mᵢ sum to one; the last adapter's is not asked for.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One module of the merged adapter: A [rank, in] and B [out, rank], `shape` being [out, in].

    `turned`: the base stores its tensor as [in, out] (embeddings, GPT-2's Conv1D). `holders` are
    the numbers of the adapters that have it.
    """

    name: str
    embedding: bool
    turned: bool
    shape: tuple[int, int]
    rank: int
    holders: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterMerge:
    """A merge that `write_adapter` can run; nothing of it is computed yet.

    `weights` are those of a weighted sum, otherwise None and `combine` a function. `base`,
    `revision` and `task` are what the adapters' configs name; `dtype` is that of A and B.
    """

    sources: tuple[Source, ...]
    combine: Combine | None = field(repr=False)
    weights: tuple[float, ...] | None
    base: str | None
    revision: str | None
    task: str | None
    dtype: str
    modules: tuple[Module, ...] = field(repr=False)
    whole: tuple[Whole, ...] = field(repr=False)

    @property
    def rank(self) -> int:
        """The largest rank of a module."""
        return max(module.rank for module in self.modules)


def merge_adapters(
    adapters: Sequence[Checkpoint],
    combine: Combine | Sequence[float],
    *,
    rank: int = 0,
    dtype: str | None = None,
    base: Checkpoint | None = None,
) -> AdapterMerge:
    """Check that adapters can be merged into one, from their headers, and download them.

    Only tensors that are stored whole are read here, to see whether they are the same.

    Args:
        adapters: LoRA adapters of one base: rsLoRA, patterns of ranks and alphas, embeddings.
        combine: one weight for each adapter, ΔW = Σ wᵢ ΔWᵢ; or a function on dense deltas, of which
            those of one module are in memory at a time. `combination` makes either of an operator.
            A module that an adapter does not have is a delta of zero.
        rank: what every module's rank is cut to. 0 is the sum of its adapters' ranks, at which a
            weighted sum is exact.
        dtype: of A and B, as torch names it; that of the first adapter's first A by default.
            Tensors that are stored whole keep theirs.
        base: the model they adapt, which says how its matrices lie, as in PEFT. Without it the one
            that their configs name is asked where that matters; where it cannot be read, shapes
            cannot tell, and their `fan_in_fan_out` is believed.

    Raises:
        CheckpointError: one is no LoRA, or its delta is not just products.
        AlignmentError: they are of different bases, tasks or shapes, do not all bring the same
            tensors whole, or change rows of an embedding that are other tokens in each.
        OperatorError: a wrong number of weights, a negative rank, an unknown dtype.
    """
    if not adapters:
        raise CheckpointError("there is no adapter to merge", hint="name at least one")
    _check_numbers(rank, dtype)
    function = combine if callable(combine) else None
    weights = None if callable(combine) else check_weights(combine, len(adapters))
    sources = [read_source(checkpoint) for checkpoint in adapters]
    stated, task, revision = common_base(sources), common_task(sources), common_revision(sources)
    known = base if base and base.kind == "full" else None
    known = known or _read_base(sources, stated, revision, function)
    turned = turned_modules(sources, known)
    modules = tuple(
        _module(sources, name, rank, function, turned) for name in _module_names(sources)
    )
    whole = match_whole(sources, weights)
    refuse_other_rows(sources)
    here = tuple(replace(one, checkpoint=download(one.checkpoint)) for one in sources)
    return AdapterMerge(
        sources=here,
        combine=function,
        weights=weights,
        base=stated,
        revision=revision,
        task=task,
        dtype=dtype or sources[0].dtype,
        modules=modules,
        whole=tuple(compare_values(here, tensor) for tensor in whole),
    )


def compute_factors(merge: AdapterMerge, module: Module, mix: Mix | None = None) -> Factors:
    """A and B of one module of the result; computed now.

    Args:
        merge: what the module is of.
        module: one of its modules.
        mix: the deltas' sum is Σ ΔWᵢMᵢ = Σ Bᵢ(AᵢMᵢ), no weighted one.

    Raises:
        CheckpointError: an adapter has NaN or Inf in it.
        OverflowError: the result does not fit float32.
    """
    loras = {number: read_lora(merge.sources[number], module.name) for number in module.holders}
    if mix is not None:
        return truncate(_mix_products(loras, mix, len(merge.sources) - 1), module.rank)
    if merge.weights is not None:
        weights = merge.weights
        parts = [(weights[i] * lora.scaling, lora.a, lora.b) for i, lora in loras.items()]
        return truncate(parts, module.rank)
    assert merge.combine is not None
    deltas = [_dense_delta(module, loras.get(number)) for number in range(len(merge.sources))]
    dense = merge.combine(f"{module.name}.weight", deltas)
    del deltas
    return factorize((dense.T if module.turned else dense).contiguous(), module.rank)


def _read_base(
    sources: Sequence[Source], stated: str | None, revision: str | None, combine: Combine | None
) -> Checkpoint | None:
    """The base that configs name, where the result depends on how its matrices lie."""
    flags = any(one.checkpoint.config.get("fan_in_fan_out") for one in sources)
    return read_base(sources, stated, revision) if stated and (combine or flags) else None


def _mix_products(loras: Mapping[int, Lora[Tensor]], mix: Mix, last: int) -> list[Product]:
    """The products with every A times its adapter's matrix; the last's is one less the others'."""
    products = []
    for number, lora in loras.items():
        if number < last:
            mixed = mix(number, lora.a)
        else:
            mixed = lora.a - sum(mix(other, lora.a) for other in range(last))
        products.append((lora.scaling, mixed, lora.b))
    return products


def _check_numbers(rank: int, dtype: str | None) -> None:
    if rank < 0:
        raise OperatorError(f"{rank} is no rank", hint="give a rank, or 0 for the sum of the ranks")
    if dtype is not None and dtype not in OUTPUT_CODES:
        raise OperatorError(
            f"adapters cannot be written as {dtype}",
            hint=f"choose one of: {', '.join(OUTPUT_CODES)}",
        )


def _module_names(sources: Sequence[Source]) -> list[str]:
    """The modules that any adapter has, in the order of the first that has them."""
    return list(dict.fromkeys(name for one in sources for name in one.loras))


def _module(
    sources: Sequence[Source],
    name: str,
    rank: int,
    combine: Callable[..., Tensor] | None,
    turned: Container[str],
) -> Module:
    loras = {i: one.loras[name] for i, one in enumerate(sources) if name in one.loras}
    first, *others = loras
    for other in others:
        if _describe(loras[other]) != _describe(loras[first]):
            raise AlignmentError(
                f"{sources[first].name} changes {name} as {_describe(loras[first])}, "
                f"{sources[other].name} as {_describe(loras[other])}",
                hint="they are adapters of different models",
            )
    shape = (loras[first].b.shape[0], loras[first].a.shape[1])
    total = sum(lora.a.shape[0] for lora in loras.values())
    return Module(
        name=name,
        embedding=loras[first].embedding,
        turned=loras[first].embedding or name in turned,
        shape=shape,
        rank=_module_rank(rank, total, shape, dense=combine is not None),
        holders=tuple(loras),
    )


def _module_rank(asked: int, total: int, shape: tuple[int, int], *, dense: bool) -> int:
    """The rank of a module whose adapters have `total` together, 0 being asked for no cut.

    What an operator makes of deltas may have any rank. A sum has no larger one than its parts; if
    it is not cut, their factors stay as they are, even where the matrix is smaller.
    """
    if dense:
        return min(asked or total, *shape)
    return min(asked, total, *shape) if asked else total


def _describe(lora: Lora[TensorHeader]) -> str:
    """For messages, and to compare."""
    kind = "an embedding " if lora.embedding else ""
    return f"{kind}[{lora.b.shape[0]}, {lora.a.shape[1]}]"


def _dense_delta(module: Module, lora: Lora[Tensor] | None) -> Tensor:
    """ΔW of one adapter as the base stores the tensor, zero where it has none: float32."""
    out, into = module.shape
    if lora is None:
        return torch.zeros((into, out) if module.turned else (out, into))
    dense = (lora.b @ lora.a).mul_(lora.scaling)
    return dense.T.contiguous() if module.turned else dense
