"""LoRA adapters from their headers: what each changes, and whether they belong together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from simmerge_hub.errors import AlignmentError, CheckpointError, HubError
from simmerge_hub.hub.files.headers import TensorHeader
from simmerge_hub.hub.resolve import Checkpoint, ModelRef, resolve
from simmerge_hub.weights import adapters
from simmerge_hub.weights.adapters import Lora
from simmerge_hub.weights.loaded.targets import find_turned
from simmerge_hub.weights.shapes import shapes, stored_dtype
from simmerge_hub.weights.stream import read_rows, read_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One adapter: its modules by name, without data, and what it stores whole.

    `whole` maps the base's tensor names to those in the file, `factors` modules to the names of
    their tensors there.
    """

    checkpoint: Checkpoint
    loras: Mapping[str, Lora[TensorHeader]] = field(repr=False)
    whole: Mapping[str, str] = field(repr=False)
    factors: Mapping[str, tuple[str, ...]] = field(repr=False)

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return self.checkpoint.name

    @property
    def dtype(self) -> str:
        """That of its first A, as torch names it."""
        tensors = self.checkpoint.tensors
        return next(stored_dtype(tensors[n]) for n in tensors if _is_factor(n))


def read_source(checkpoint: Checkpoint) -> Source:
    """An adapter from its headers.

    Raises:
        CheckpointError: it is no LoRA, or its deltas are not just products of its matrices.
    """
    if checkpoint.kind != "adapter":
        raise CheckpointError(
            f"{checkpoint.name} is a full model, not an adapter",
            hint="give adapters only, or merge into a full model",
        )
    adapters.check_kind(checkpoint)
    if checkpoint.config.get("target_parameters"):
        raise CheckpointError(
            f"{checkpoint.name} adapts parameters (target_parameters), which only their base's "
            "model can tell apart",
            hint="leave out `output:` and name the base: merges into a full model take it",
        )
    if checkpoint.buffers:
        raise adapters.unfoldable_error(
            checkpoint, f"holds whole numbers ({min(checkpoint.buffers)})"
        )
    loras, whole = adapters.separate(checkpoint, checkpoint.tensors)
    if not loras:
        raise adapters.unfoldable_error(checkpoint, "has no LoRA matrices")
    if checkpoint.config.get("use_dora") or any(lora.magnitude is not None for lora in loras):
        raise adapters.unfoldable_error(
            checkpoint, "is a DoRA adapter: its delta depends on the base"
        )
    names = {short: name for name, short in adapters.base_names(checkpoint.tensors).items()}
    return Source(
        checkpoint=checkpoint,
        loras={lora.module: lora for lora in loras},
        whole={name: names[name] for name in whole},
        factors=_factor_names(checkpoint),
    )


def _factor_names(checkpoint: Checkpoint) -> dict[str, tuple[str, ...]]:
    """Module -> the names of its tensors in the file."""
    names: dict[str, tuple[str, ...]] = {}
    for name in checkpoint.tensors:
        module, lora, _ = adapters.base_name(name).rpartition(".lora_")
        if lora:
            names[module] = (*names.get(module, ()), name)
    return names


def common_base(sources: Sequence[Source]) -> str | None:
    """The base that the configs name; some may name none.

    Raises:
        AlignmentError: two name different ones.
    """
    return _common_setting(
        sources,
        "base_model_name_or_path",
        "{} is an adapter of {}, {} of {}",
        "deltas can only be added to the base they were trained on; if both names mean one "
        "model, write the same base_model_name_or_path into both adapter_config.json",
    )


def common_revision(sources: Sequence[Source]) -> str | None:
    """The revision of their base that the configs name; some may name none.

    Raises:
        AlignmentError: two name different ones.
    """
    return _common_setting(
        sources,
        "revision",
        "{} is an adapter of its base at {}, {} at {}",
        "deltas can only be added to the base they were trained on; if both are one commit, write "
        "the same revision into both adapter_config.json",
    )


def common_task(sources: Sequence[Source]) -> str | None:
    """The task_type that the configs name; some may name none.

    Raises:
        AlignmentError: two name different ones.
    """
    return _common_setting(
        sources,
        "task_type",
        "{} is for the task {}, {} for {}",
        "adapters for different tasks sit in models of different classes",
    )


def read_base(sources: Sequence[Source], name: str, revision: str | None) -> Checkpoint | None:
    """The full model of this name from its headers; None if it cannot be read.

    What is on the Hub cannot name a folder on this machine.
    """
    try:
        ref = ModelRef.parse(name)
        if ref.folder is not None and any(one.checkpoint.location.repo for one in sources):
            return None
        base = resolve(replace(ref, revision=revision) if ref.repo and revision else ref)
    except (HubError, CheckpointError):
        return None
    return base if base.kind == "full" else None


def turned_modules(sources: Sequence[Source], base: Checkpoint | None) -> set[str]:
    """Modules whose tensor the base stores as [in, out] (GPT-2's Conv1D).

    It is the base that says so, of each module for itself; without one the adapters' configs.

    Raises:
        CheckpointError: neither the base nor shapes nor the configs can tell.
    """
    modules: set[str] = set()
    for one in sources:
        adapter = one.checkpoint
        turned = None if base is None else find_turned(adapter, base)
        if turned is not None:
            modules |= {name for name in one.loras if turned.get(f"{name}.weight")}
        elif base is not None:
            loras = list(one.loras.values())
            modules |= adapters.transposed_modules(adapter, loras, shapes(base))
        elif adapter.config.get("fan_in_fan_out"):
            modules |= one.loras.keys()
    return modules


def read_rows_of(one: Source, name: str, low: int, high: int) -> Tensor:
    """Rows [low, high) of a tensor as its file has it: float32 [high − low, cols].

    Raises:
        CheckpointError: there is NaN or Inf in them.
    """
    as_stored = replace(one.checkpoint, kind="full")
    rows = read_rows(as_stored, {name: [(low, high)]})[name]
    _check_finite(one, name, rows)
    return rows


def read_lora(one: Source, module: str) -> Lora[Tensor]:
    """One module with its data, float32.

    Raises:
        CheckpointError: there is NaN or Inf in it.
    """
    mine = {name: one.checkpoint.tensors[name] for name in one.factors[module]}
    tensors = read_whole(replace(one.checkpoint, tensors=mine))
    for tensor in tensors.values():
        _check_finite(one, module, tensor)
    (lora,) = adapters.separate(one.checkpoint, tensors)[0]
    return lora


def _common_setting(sources: Sequence[Source], key: str, message: str, hint: str) -> str | None:
    """What all configs that state `key` state."""
    stated = [
        (one.name, str(value)) for one in sources if (value := one.checkpoint.config.get(key))
    ]
    for other in stated[1:]:
        if other[1] != stated[0][1]:
            raise AlignmentError(message.format(*stated[0], *other), hint=hint)
    return stated[0][1] if stated else None


def _check_finite(one: Source, name: str, tensor: Tensor) -> None:
    if not torch.isfinite(tensor).all():
        raise CheckpointError(
            f"{one.name} has NaN or Inf in {name}",
            hint="leave this adapter out: it is damaged or its training diverged",
        )


def _is_factor(name: str) -> bool:
    return adapters.LORA.fullmatch(adapters.base_name(name)) is not None
