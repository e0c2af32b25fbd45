"""Decoders as Llama's, of which a config says every shape: seen without asking transformers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from simmerge_hub.weights.layers import LAYER_COUNTS, layer_of

BIAS = re.compile(r"(attention|attn|mlp|qkv|use)_bias|bias")
"""Flags of a config that give layers biases."""
DECODER = re.compile(
    r"(model\.)?(embed_tokens\.weight|norm\.weight|layers\.\d+\..+)|lm_head\.weight"
)
"""What transformers surely finds in a decoder as Llama's."""
KIND = re.compile(r"\w+(ForCausalLM|Model)")
"""Architectures that have nothing but the decoder and a head for tokens."""
OPTIONAL = {"lm_head", "q_norm", "k_norm"}
"""What such a decoder may do without."""


def fits_at_sight(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether this is a decoder without biases of which a config says every shape."""
    text = config.get("text_config")
    part = text if isinstance(text, dict) and "hidden_size" in text else config
    wanted = _decoder_shapes(part)
    layers = Counter(at.number for name in shapes if (at := layer_of(name)))
    kinds = config.get("architectures")
    return (
        all(KIND.fullmatch(str(kind)) for kind in (kinds if isinstance(kinds, list) else ()))
        and all(map(DECODER.fullmatch, shapes))
        and wanted.keys() - OPTIONAL <= {_role(name) for name in shapes}
        and len(layers) == count_layers(config)
        and layers.keys() == set(range(len(layers)))
        and len({*layers.values()}) == 1  # as many tensors in each
        and not any(value for key, value in part.items() if BIAS.fullmatch(key))
        and all(shape == wanted.get(_role(name)) for name, shape in shapes.items())
    )


def _role(name: str) -> str:
    """The last module of a tensor's name, norms being one: "q_proj", "norm"."""
    module, _, kind = name.rpartition(".")
    module = module.rpartition(".")[2]
    if module in ("q_norm", "k_norm") or kind != "weight":
        return module if kind == "weight" else name
    return "norm" if module.endswith("norm") else module


def _decoder_shapes(part: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Role of a tensor -> its shape in a decoder as Llama's; {} where a config does not say all."""
    keys = ("hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
    width, heads, inner, tokens = (part.get(key) for key in keys)
    if not all(type(each) is int and each > 0 for each in (width, heads, inner, tokens)):
        return {}
    assert isinstance(width, int) and isinstance(heads, int)
    assert isinstance(inner, int) and isinstance(tokens, int)
    each, groups = part.get("head_dim") or width // heads, part.get("num_key_value_heads") or heads
    if type(each) is not int or type(groups) is not int:
        return {}
    return {
        **dict.fromkeys(("embed_tokens", "lm_head"), (tokens, width)),
        **dict.fromkeys(("gate_proj", "up_proj"), (inner, width)),
        **dict.fromkeys(("k_proj", "v_proj"), (groups * each, width)),
        **dict.fromkeys(("q_norm", "k_norm"), (each,)),
        "q_proj": (heads * each, width),
        "o_proj": (width, heads * each),
        "down_proj": (width, inner),
        "norm": (width,),
    }


def count_layers(config: Mapping[str, Any]) -> int:
    """How many layers a config counts, of all its parts that know tokens; 0 if it does not."""
    stated = [
        part[key]
        for part in parts(dict(config))
        for key in LAYER_COUNTS
        if "vocab_size" in part and type(part.get(key)) is int
    ]
    return max(stated, default=0)


def parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The config and those inside it: text_config, vision_config ..."""
    return [config, *(value for value in config.values() if isinstance(value, dict))]
