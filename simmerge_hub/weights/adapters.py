"""A LoRA adapter seen as a model: rows of the base in, rows of base + delta out.

ΔW = scaling · B·A with scaling = α/r, or α/√r for rsLoRA (arXiv 2106.09685, 2312.03732); DoRA
rescales each output row to its learned magnitude (arXiv 2402.09353). Only A and B are in memory.
Products are formed in fixed groups of rows: a result does not depend on which rows are asked for.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simmerge_hub.errors import AlignmentError, CheckpointError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.adapter_config import check_settings, match_pattern, unknown_settings

Fold = Callable[[Tensor, int], Tensor]
"""(float32 rows [n, cols] of the base, index of the first) -> those rows of the adapted model."""
GROUP = 64
"""Rows of a product formed at a time."""
PREFIX = "base_model.model."
CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that also change the base's weights, as PEFT names them."""
UNFOLDABLE = (
    "alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "lora_bias",
    "monteclora_config", "target_parameters", "trainable_token_indices", "use_bdlora",
    "use_qalora", "velora_config",
)  # fmt: skip
"""Settings of PEFT that make a LoRA more, or other, than a product of two matrices."""
MAGNITUDE = ".lora_magnitude_vector"
ADAPTER_NAME = re.compile(
    r"(\.(?:lora_(?:embedding_)?[AB]|lora_magnitude_vector|modules_to_save))\.(?!weight$|bias$)[^.]+(?=\.|$)"
)
"""The name of an adapter within that of a tensor."""
LORA = re.compile(r"(.+)\.lora_(embedding_)?A(\.weight)?")


def folds(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Fold]:
    """Tensor name of the base -> how the adapter changes its rows.

    Args:
        checkpoint: the adapter.
        tensors: its tensors, float32, as stored.
        shapes: the base's tensor shapes.

    Raises:
        CheckpointError: it is no LoRA, or of a kind that cannot be folded.
        AlignmentError: it adapts a tensor that the base does not have.
    """
    check_kind(checkpoint)
    loras, whole = separate(checkpoint, tensors)
    by_tensor: dict[str, Fold] = {}
    for own, tensor in whole.items():
        name = checkpoint.targets.get(own, own)
        _check_shape(checkpoint, name, tuple(tensor.shape), shapes)
        by_tensor[name] = _replacement_fold(tensor)
    transposed = _transposed_modules(checkpoint, loras, shapes)
    for lora in loras:
        name, turned = _target(checkpoint, lora), lora.embedding or lora.module in transposed
        rows, right = (lora.a.T, lora.b.T) if turned else (lora.b, lora.a)
        _check_shape(checkpoint, name, (rows.shape[0], right.shape[1]), shapes)
        if lora.magnitude is not None and turned:
            raise unfoldable_error(checkpoint, f"is a DoRA adapter of the transposed tensor {name}")
        fold = _low_rank_fold(rows.contiguous(), right.contiguous(), lora.scaling, lora.magnitude)
        by_tensor[name] = _compose(by_tensor[name], fold) if name in by_tensor else fold
    return by_tensor


def changed_tensors(checkpoint: Checkpoint) -> set[str]:
    """What an adapter changes, by the names of parameters in memory; from its headers.

    Raises:
        CheckpointError: it is of a kind that cannot be folded.
    """
    check_kind(checkpoint)
    loras, whole = separate(checkpoint, _empty_tensors(checkpoint))
    return {f"{lora.module}.weight" for lora in loras} | whole.keys()


def check(checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """What `folds` refuses, refused from headers alone."""
    folds(checkpoint, _empty_tensors(checkpoint), shapes)


def _empty_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {n: torch.empty(h.shape, device="meta") for n, h in checkpoint.tensors.items()}


def check_kind(checkpoint: Checkpoint) -> None:
    """CheckpointError if the config says that it is more, or other, than products of matrices."""
    config = checkpoint.config
    if config.get("peft_type") != "LORA":
        kind = config.get("peft_type")
        raise unfoldable_error(
            checkpoint, f"is a {kind!s:.40} adapter; only LoRA (rsLoRA, DoRA) can be folded in"
        )
    check_settings(checkpoint.name, config)
    if config.get("bias", "none") != "none":
        raise unfoldable_error(checkpoint, f"trains biases too (bias={config['bias']!r})")
    started = str(config.get("init_lora_weights"))
    if started.startswith(CHANGES_BASE):
        raise unfoldable_error(
            checkpoint, f"was started with {started}, which changes the base too"
        )
    for key in UNFOLDABLE:
        if config.get(key):
            raise unfoldable_error(checkpoint, f"is a LoRA of a special kind ({key})")
    _check_magnitudes(checkpoint)


def _check_magnitudes(checkpoint: Checkpoint) -> None:
    """A DoRA without its vectors, or vectors that PEFT would pass over, is another model."""
    adapted = {match[1] for name in checkpoint.tensors if (match := LORA.fullmatch(name))}
    scaled = {name.partition(MAGNITUDE)[0] for name in checkpoint.tensors if MAGNITUDE in name}
    if checkpoint.config.get("use_dora"):
        if lacking := sorted(adapted - scaled):
            raise unfoldable_error(checkpoint, f"says use_dora, and lacks {lacking[0]}{MAGNITUDE}")
    elif scaled:
        first = min(scaled)
        raise unfoldable_error(checkpoint, f"has {first}{MAGNITUDE}, and does not say use_dora")


def unfoldable_error(checkpoint: Checkpoint, seen: str) -> CheckpointError:
    """The error for an adapter of which `seen` is true."""
    return CheckpointError(
        f"{checkpoint.name} {seen}",
        hint="merge it into its base with peft's merge_and_unload() and use the result",
    )


def _check_shape(
    checkpoint: Checkpoint,
    name: str,
    shape: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    if name not in shapes:
        raise AlignmentError(
            f"the adapter {checkpoint.name} changes {name}, which its base does not have",
            hint="name the model the adapter was trained on with --base, or as `base:` of a recipe",
        )
    if shape != shapes[name]:
        raise AlignmentError(
            f"the adapter {checkpoint.name} changes {name} as {list(shape)}, in its base it is "
            f"{list(shapes[name])}",
            hint="name the model the adapter was trained on with --base",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """One adapted module: A [r, in] and B [out, r], as stored; ΔW = scaling · B·A.

    `module` is its name in the base. The ΔW of an embedding, or of a module whose tensor is stored
    [in, out], is the transpose of that tensor's change. `magnitude` is DoRA's [out], or None.
    """

    module: str
    embedding: bool
    a: Tensor
    b: Tensor
    magnitude: Tensor | None
    scaling: float


def separate(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor]
) -> tuple[list[Lora], dict[str, Tensor]]:
    """The adapted modules, and the tensors that are stored whole under the base's names.

    Args:
        checkpoint: the adapter; its config says how products are scaled.
        tensors: its tensors, or some of them, as stored; they may be without data (device "meta").

    Raises:
        CheckpointError: A or B is missing, or they do not multiply.
    """
    left = {base_name(name): tensor for name, tensor in tensors.items()}
    if len(left) < len(tensors):
        raise unfoldable_error(checkpoint, "holds several adapters in one file")
    loras = [_take_lora(checkpoint, n, left) for n in list(left) if LORA.fullmatch(n)]
    for name in left:
        if ".lora_" in name:
            raise CheckpointError(
                f"{checkpoint.name} holds {name}, which is no tensor of a LoRA as PEFT stores it",
                hint="export it for PEFT with the tool that trained it: PEFT stores "
                "….lora_A.weight [r, in] and ….lora_B.weight [out, r]",
            )
    return loras, left


def _take_lora(checkpoint: Checkpoint, name: str, left: dict[str, Tensor]) -> Lora:
    """Take the tensors of one adapted module out of `left`."""
    matched = LORA.fullmatch(name)
    assert matched
    module, a, b = matched[1], left.pop(name), left.pop(_partner(name), None)
    if b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
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
        scaling=_scaling(checkpoint.config, module, a.shape[0]),
    )


def _transposed_modules(
    checkpoint: Checkpoint, loras: Sequence[Lora], shapes: Mapping[str, tuple[int, ...]]
) -> set[str]:
    """Modules whose tensor is stored [in, out] (GPT-2's Conv1D): shapes tell, except for squares.

    `fan_in_fan_out` is one flag for all modules, and PEFT leaves it as the last module had it.
    """
    transposed = {
        m.module: _is_transposed(m, shapes.get(_target(checkpoint, m)))
        for m in loras
        if not m.embedding
    }
    flag = bool(checkpoint.config.get("fan_in_fan_out"))
    squares = [module for module, turned in transposed.items() if turned is None]
    if squares and any(turned is (not flag) for turned in transposed.values()):
        raise unfoldable_error(
            checkpoint, f"adapts {squares[0]}, and fan_in_fan_out={flag} is not true of all modules"
        )
    return {module for module, turned in transposed.items() if (flag if turned is None else turned)}


def _is_transposed(lora: Lora, shape: tuple[int, ...] | None) -> bool | None:
    """Whether the base's tensor of this shape is the transpose of B·A; None where it is square."""
    out, into = lora.b.shape[0], lora.a.shape[1]
    return None if out == into else shape == (into, out)


def _target(checkpoint: Checkpoint, lora: Lora) -> str:
    """What the base calls the tensor that an adapted module has."""
    name = f"{lora.module}.weight"
    return checkpoint.targets.get(name, name)


def _partner(name: str) -> str:
    head, _, tail = name.rpartition("A")
    return f"{head}B{tail}"


def _low_rank_fold(left: Tensor, right: Tensor, scaling: float, magnitude: Tensor | None) -> Fold:
    def fold(rows: Tensor, low: int) -> Tensor:
        high = low + len(rows)
        first = low - low % GROUP
        groups = [left[i : i + GROUP] @ right for i in range(first, high, GROUP)]
        delta = torch.cat(groups)[low - first : high - first]
        adapted = rows + delta.reshape(rows.shape) * scaling
        if magnitude is None:
            return adapted
        return adapted * (magnitude.reshape(-1)[low:high] / adapted.norm(dim=1))[:, None]

    return fold


def _replacement_fold(tensor: Tensor) -> Fold:
    """`modules_to_save`: the adapter brings the whole tensor."""
    whole = tensor.reshape(1, -1) if tensor.ndim < 2 else tensor.flatten(1)
    return lambda rows, low: whole[low : low + len(rows)].clone()


def _compose(first: Fold, second: Fold) -> Fold:
    return lambda rows, low: second(first(rows, low), low)


def _scaling(config: Mapping[str, Any], module: str, rank: int) -> float:
    alpha = match_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", 8))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def other_base(checkpoint: Checkpoint, base: Checkpoint) -> list[str]:
    """A sentence if an adapter names another repository as its base; [] if not."""
    named = checkpoint.config.get("base_model_name_or_path")
    if not isinstance(named, str) or not base.ref.repo or "/" not in named or named.startswith("/"):
        return []
    if named == base.ref.repo:
        return []
    return [f"{checkpoint.name} says its base is {named}, and is added to {base.name}"]


def ignored_settings(checkpoint: Checkpoint) -> list[str]:
    """A sentence if an adapter's config says what only a newer PEFT knows; [] if not."""
    unknown = unknown_settings(checkpoint.config)
    listed = ", ".join(unknown[:3])
    return [f"{checkpoint.name} has settings of a newer PEFT, not followed: {listed}"] * bool(
        unknown
    )


def base_name(name: str) -> str:
    """What a stored tensor's parameter is called in memory.

    PEFT saves adapted embeddings as `base_layer` too; savers that know nothing of PEFT leave the
    adapter's name in (`.lora_A.default.weight`), and torch.compile's and data-parallel wrappers.
    """
    short = name.replace("_orig_mod.", "").removeprefix("module.").removeprefix(PREFIX)
    short = ADAPTER_NAME.sub(r"\1", short)
    return short.replace(".modules_to_save.", ".").replace(".base_layer.", ".")
