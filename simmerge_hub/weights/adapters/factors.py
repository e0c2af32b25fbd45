"""The matrices of an adapter, by the modules that they adapt, as those are called in memory."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.resolve import Checkpoint, Piece, TargetParameter
from simmerge_hub.weights.adapters.kinds import (
    LORA,
    MAGNITUDE,
    base_names,
    check_kind,
    unfoldable_error,
)
from simmerge_hub.weights.adapters.settings import match_pattern

DEFAULT_RANK = DEFAULT_ALPHA = 8
"""What PEFT takes for `r` and `lora_alpha` where a config does not state them."""


class Shaped(Protocol):
    """A tensor, or what a header says of one."""

    @property
    def shape(self) -> Sequence[int]:
        """Of any number of dimensions."""
        ...


M = TypeVar("M", bound=Shaped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora(Generic[M]):
    """One adapted module: A [r, in] and B [out, r], as stored; ΔW = scaling · B·A.

    `module` is its name in the model. The ΔW of an embedding, or of a module whose tensor is stored
    [in, out], is the transpose of that tensor's change. `magnitude` is DoRA's [out], or None. Of a
    stack of experts A is [experts · r, in], one after another, and B [out, r · experts], in turns.
    """

    module: str
    embedding: bool
    a: M
    b: M
    magnitude: M | None
    scaling: float

    @property
    def name(self) -> str:
        """What an adapter calls the tensor that it changes."""
        return f"{self.module}.weight"


def target_of(checkpoint: Checkpoint, name: str) -> TargetParameter:
    """What an adapter changes under this name, and where its base stores it."""
    return checkpoint.targets.get(name, TargetParameter(parameter=name, pieces=(Piece(name),)))


def changed_tensors(checkpoint: Checkpoint) -> set[str]:
    """What an adapter changes, by the names of parameters in memory; from its headers.

    Raises:
        CheckpointError: it is of a kind that cannot be folded.
    """
    check_kind(checkpoint)
    loras, whole = separate(checkpoint, checkpoint.tensors)
    return {lora.name for lora in loras} | whole.keys()


def separate(
    checkpoint: Checkpoint, tensors: Mapping[str, M]
) -> tuple[list[Lora[M]], dict[str, M]]:
    """The adapted modules, and the tensors that are stored whole under the base's names.

    Args:
        checkpoint: the adapter; its config says how products are scaled.
        tensors: its tensors, or some of them, as stored, or what headers say of them.

    Raises:
        CheckpointError: A or B is missing, or they do not multiply.
    """
    names = base_names(tensors)
    left = {short: tensors[name] for name, short in names.items()}
    if len(left) < len(names):
        raise unfoldable_error(checkpoint, "holds several adapters in one file")
    tied = _tied_modules(checkpoint, left)
    loras = [_take_lora(checkpoint, n, left, tied) for n in list(left) if LORA.fullmatch(n)]
    for name in left:
        if ".lora_" in name:
            raise CheckpointError(
                f"{checkpoint.name} holds {name}, which is no tensor of a LoRA as PEFT stores it",
                hint="export it for PEFT with the tool that trained it: PEFT stores "
                "….lora_A.weight [r, in] and ….lora_B.weight [out, r]",
            )
    return loras, left


def _tied_modules(checkpoint: Checkpoint, tensors: Mapping[str, Shaped]) -> set[str]:
    """Modules whose matrices are those of an embedding, turned: the heads that are tied to it.

    For `ensure_weight_tying` PEFT gives them the embedding's matrices of the embedding's rank, and
    divides their product by the rank that the config says of the head.
    """
    if not checkpoint.config.get("ensure_weight_tying"):
        return set()
    pairs = {
        match[1]: (bool(match[2]), tuple(a.shape), tuple(tensors[_partner(name)].shape))
        for name, a in tensors.items()
        if (match := LORA.fullmatch(name)) and _partner(name) in tensors
    }
    turned = {(b[::-1], a[::-1]) for embedding, a, b in pairs.values() if embedding}
    return {m for m, (embedding, a, b) in pairs.items() if not embedding and (a, b) in turned}


def _take_lora(
    checkpoint: Checkpoint, name: str, left: dict[str, M], tied: Collection[str]
) -> Lora[M]:
    """Take the tensors of one adapted module out of `left`."""
    matched = LORA.fullmatch(name)
    assert matched
    module, a, b = matched[1], left.pop(name), left.pop(_partner(name), None)
    if b is None or len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        seen = f"A {list(a.shape)} and B {list(b.shape) if b is not None else 'missing'}"
        raise unfoldable_error(checkpoint, f"has no pair of matrices for {module}: {seen}")
    magnitude = left.pop(f"{module}{MAGNITUDE}", None)
    if magnitude is None:
        magnitude = left.pop(f"{module}{MAGNITUDE}.weight", None)
    return Lora(
        module=module,
        embedding=bool(matched[2]),
        a=a,
        b=b,
        magnitude=magnitude,
        scaling=_scaling(checkpoint, module, a.shape[0], tied=module in tied),
    )


def _partner(name: str) -> str:
    head, _, tail = name.rpartition("A")
    return f"{head}B{tail}"


def _scaling(checkpoint: Checkpoint, module: str, rank: int, *, tied: bool) -> float:
    config, target = checkpoint.config, target_of(checkpoint, f"{module}.weight")
    key = target.parameter if target.named else module
    if rank % (target.experts or 1):
        raise unfoldable_error(checkpoint, f"has rank {rank} for {target.experts} experts of {key}")
    rank //= target.experts or 1
    stated = match_pattern(config.get("rank_pattern"), key, config.get("r", 0))
    rank = int(stated or DEFAULT_RANK) if tied else rank
    aimed = checkpoint.targets or not config.get("target_parameters")
    if aimed and rank != (stated or DEFAULT_RANK):
        said = f"{stated:g}" if stated else f"none, for which PEFT takes {DEFAULT_RANK}"
        raise CheckpointError(
            f"{checkpoint.name} holds {key} in rank {rank}, and its adapter_config.json says "
            f"{said}",
            hint="PEFT does not load it, and by which rank its products are divided nobody knows: "
            "correct `r` or `rank_pattern` in a copy, or fetch the adapter again",
        )
    alpha = match_pattern(config.get("alpha_pattern"), key, config.get("lora_alpha", DEFAULT_ALPHA))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
