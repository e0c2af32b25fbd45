"""What stored tensors are: weights, 8-bit weights with their scales, buffers, or nothing to merge.

Told from configs, names and headers alone. Names and shapes are those that transformers 5
(finegrained_fp8, fbgemm_fp8), compressed-tensors and NVIDIA's Model Optimizer write. A stored 8-bit
float times its scale is the weight, whether the scale is called `_scale` or `_scale_inv`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.files.headers import Headers, TensorHeader

FLOATS = ("F64", "F32", "F16", "BF16")
"""Stored dtypes of weights."""
EIGHT_BIT = ("F8_E4M3", "F8_E5M2")
"""Stored dtypes of weights that need a scale."""
INTEGERS = ("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
"""Stored dtypes of buffers."""
SCALES = ("F32", "F16", "BF16", "F8_E8M0")
"""Stored dtypes of scales."""
SUFFIXES = ("_scale_inv", "_scale")
DEFAULT_BLOCK = (128, 128)
"""Blocks of a `weight_scale_inv` where the config does not state them, as transformers has it."""
ACTIVATIONS = re.compile(
    r"(.*\.)?(input_scale|input_scale_ub|activation_scale|output_scale|[qkv]_scale|prob_scale)"
)
"""Scales of activations and caches: of no use to weights that are not 8-bit any more."""
CONFIG_KEYS = ("quantization_config", "compression_config")
"""Where a config says how its weights are quantised; untrue of what is merged from them."""
SCALED_FLOATS = ("fp8", "fbgemm_fp8", "compressed-tensors", "modelopt")
"""Methods that may store 8-bit floats with scales; what else they store shows in the tensors."""
PACKED = {
    "gptq or awq": re.compile(r"(.*\.)?(qweight|qzeros)"),
    "bitsandbytes": re.compile(r"(.*\.)?(absmax|quant_map|nested_absmax|SCB)|.*\.quant_state\..*"),
    "compressed-tensors": re.compile(r"(.*\.)?(weight_packed|weight_zero_point|bitmask)"),
    "hqq": re.compile(r"(.*\.)?W_q"),
    "quanto": re.compile(r"(.*\.)?weight\._data"),
    "torchao": re.compile(r"(.*[._:])?qdata"),
}
"""Method -> names that only its tensors have."""


def quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a config, or that of its text model, says of how its weights are quantised; or {}."""
    nested = (part for part in config.values() if isinstance(part, dict))
    for part in (config, *nested):
        for key in CONFIG_KEYS:
            if isinstance(part.get(key), dict):
                return part[key]
    return {}


def refuse_quantised(name: str, config: Mapping[str, Any], originals: Sequence[str]) -> None:
    """Refuse a checkpoint whose config says that its weights cannot be read.

    Args:
        name: what to call the checkpoint.
        config: its config.json.
        originals: what its card says it was made from.

    Raises:
        CheckpointError: it is quantised with anything but scaled 8-bit floats.
    """
    stated = quantization(config)
    method = _method(stated)
    widths = [(_kind(group), group.get("num_bits")) for group in _groups(stated)]
    if not stated or (method in SCALED_FLOATS and all(w == ("float", 8) for w in widths)):
        return
    bits = next((bits for kind, bits in widths if (kind, bits) != ("float", 8)), _bits(stated))
    raise _quantised_error(name, f"{method} ({bits} bit)" if bits else method, originals)


def sort_tensors(
    name: str, headers: Headers, config: Mapping[str, Any], originals: Sequence[str]
) -> tuple[dict[str, TensorHeader], dict[str, TensorHeader]]:
    """(weights, buffers) of a checkpoint, in file order; scales are absorbed by their weights.

    Args:
        name: what to call the checkpoint.
        headers: all its tensors.
        config: its config.json.
        originals: what its card says it was made from.

    Raises:
        CheckpointError: a tensor that cannot be merged, an 8-bit one without its scale, a scale
            without its tensor or of a shape that does not scale it.
    """
    _refuse_packed(name, headers, originals)
    stated = quantization(config)
    scaled = bool(stated) or any(h.dtype in EIGHT_BIT for h in headers.values())
    pairs = _pairs(name, headers) if scaled else {}
    scales = set(pairs.values())
    weights: dict[str, TensorHeader] = {}
    buffers: dict[str, TensorHeader] = {}
    for tensor, header in headers.items():
        if tensor in scales or (scaled and ACTIVATIONS.fullmatch(tensor)):
            continue
        if header.dtype in FLOATS:
            weights[tensor] = header
        elif header.dtype in INTEGERS:
            buffers[tensor] = header
        elif header.dtype in EIGHT_BIT:
            weights[tensor] = _attach_scale(name, tensor, headers, pairs.get(tensor), stated)
        else:
            raise _unmergeable_error(name, f"{tensor} is stored as {header.dtype}")
    return weights, buffers


def _method(stated: Mapping[str, Any]) -> str:
    """How quantised; old configs of bitsandbytes and compressed-tensors do not name it."""
    if stated.get("load_in_4bit") or stated.get("load_in_8bit"):
        return "bitsandbytes"
    guess = "compressed-tensors" if "config_groups" in stated else "an unnamed method"
    return str(stated.get("quant_method") or guess)


def _groups(stated: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What compressed-tensors says of the weights of each group of modules."""
    groups = stated.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict):
            yield weights


def _kind(group: Mapping[str, Any]) -> str:
    return str(group.get("type", "int"))


def _bits(stated: Mapping[str, Any]) -> int | str | None:
    if stated.get("load_in_4bit") or stated.get("load_in_8bit"):
        return 4 if stated.get("load_in_4bit") else 8
    widths = (stated.get(key) for key in ("bits", "w_bit", "num_bits", "nbits"))
    return next((bits for bits in widths if isinstance(bits, int)), None)


def _refuse_packed(name: str, headers: Headers, originals: Sequence[str]) -> None:
    """Refuse weights stored as whole numbers: as buffers they would be lost."""
    for tensor, header in headers.items():
        for method, pattern in PACKED.items():
            if pattern.fullmatch(tensor):
                raise _quantised_error(name, f"{method} (it has {tensor})", originals)
        if tensor.endswith("_blocks") and tensor.removesuffix("_blocks") + "_scales" in headers:
            raise _quantised_error(name, f"mxfp4 (it has {tensor})", originals)
        matrix = tensor.endswith(".weight") and len(header.shape) > 1
        if header.dtype in INTEGERS and (matrix or _scales_of(tensor, headers)):
            raise _quantised_error(name, f"whole numbers ({tensor} is {header.dtype})", originals)


def _scales_of(tensor: str, headers: Headers) -> list[str]:
    return [tensor + suffix for suffix in SUFFIXES if tensor + suffix in headers]


def _pairs(name: str, headers: Headers) -> dict[str, str]:
    """8-bit tensor -> its scale; a scale of nothing is refused."""
    pairs: dict[str, str] = {}
    for tensor, header in headers.items():
        if header.dtype in EIGHT_BIT and not ACTIVATIONS.fullmatch(tensor):
            scales = _scales_of(tensor, headers)
            if len(scales) != 1:
                seen = " and ".join(scales) or "no scale"
                raise _unmergeable_error(
                    name, f"{tensor} is stored as {header.dtype} and has {seen}"
                )
            pairs[tensor] = scales[0]
    for tensor in headers.keys() - pairs.values():
        weight = re.sub("_scale(_inv)?$", "", tensor)
        if weight != tensor and (weight.endswith(".weight") or tensor.endswith("_scale_inv")):
            held = f"is stored as {headers[weight].dtype}" if weight in headers else "is not there"
            raise _unmergeable_error(name, f"{tensor} scales {weight}, which {held}")
    return pairs


def _attach_scale(
    name: str, tensor: str, headers: Headers, scale_name: str | None, stated: Mapping[str, Any]
) -> TensorHeader:
    """The header of an 8-bit tensor with its scale and blocks."""
    assert scale_name is not None
    header, scale = headers[tensor], headers[scale_name]
    if scale.dtype not in SCALES:
        seen = f"{scale_name} is stored as {scale.dtype}, which is no scale"
        raise _unmergeable_error(name, seen)
    blocks = _blocks(stated) or DEFAULT_BLOCK
    block = _block(header.shape, scale.shape, blocks)
    if block is None:
        shape = f"{scale_name} is {list(scale.shape)}"
        seen = f"{shape}, which does not scale {tensor} {list(header.shape)}"
        raise _unmergeable_error(name, f"{seen} in blocks of {blocks[0]} × {blocks[1]}")
    return replace(header, scale=scale, block=block)


def _block(
    shape: tuple[int, ...], scale: tuple[int, ...], blocks: tuple[int, int]
) -> tuple[int, ...] | None:
    """How many entries in each dimension share one number of the scale; None if it does not fit."""
    if prod(scale) == 1:
        return tuple(max(1, size) for size in shape)
    if len(shape) < 2:
        return None
    if scale in (shape[:1], (*shape[:1], *[1] * (len(shape) - 1))):
        return (1, *(max(1, size) for size in shape[1:]))
    leading = (*shape[:-2],)
    if scale == (*leading, *(-(-n // b) for n, b in zip(shape[-2:], blocks, strict=True))):
        return (*[1] * len(leading), *blocks)
    if leading and len(scale) == len(shape) and scale[0] == shape[0]:  # fused experts, by row
        pairs = list(zip(shape, scale, strict=True))
        fits = all(one in (1, size) for size, one in pairs)
        return tuple(max(1, size) if one == 1 else 1 for size, one in pairs) if fits else None
    return None


def _blocks(stated: Mapping[str, Any]) -> tuple[int, int] | None:
    """The blocks a config states, [rows, columns]."""
    stated_blocks = [
        stated.get("weight_block_size"),
        *(g.get("block_structure") for g in _groups(stated)),
    ]
    for blocks in stated_blocks:
        if isinstance(blocks, list) and len(blocks) == 2:
            rows, columns = blocks
            if type(rows) is int and type(columns) is int and rows > 0 and columns > 0:
                return rows, columns
    return None


def _quantised_error(name: str, how: str, originals: Sequence[str]) -> CheckpointError:
    original = f" ({', '.join(originals)})" if originals else ""
    return CheckpointError(
        f"{name} is quantised with {how}, which cannot be merged",
        hint=f"use the unquantised original{original}, or load it with transformers, "
        "dequantize() it and save_pretrained() it again",
    )


def _unmergeable_error(name: str, seen: str) -> CheckpointError:
    return CheckpointError(
        f"{name} cannot be merged: {seen}",
        hint="merge a checkpoint stored in float32, float16 or bfloat16, or in 8-bit floats with "
        "their scales",
    )
