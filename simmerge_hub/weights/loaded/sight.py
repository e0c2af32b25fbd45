"""Decoders as Llama's, of which a config says every tensor: seen without asking transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from simmerge_hub.weights.layers import LAYER_COUNTS, parts
from simmerge_hub.weights.shapes import Shapes

BIAS = re.compile(r"(attention|attn|mlp|qkv|use)_bias|bias")
"""Flags of a config that give layers biases."""
ARCHITECTURE = re.compile(r"\w+(ForCausalLM|Model)")
"""Architectures that have nothing but the decoder and a head for tokens."""
AROUND = ("input_layernorm", "post_attention_layernorm")
INSIDE = ("pre_feedforward_layernorm", "post_feedforward_layernorm")
OF_HEADS = ("self_attn.q_norm", "self_attn.k_norm")
NORMS: Mapping[str, tuple[str, ...]] = {
    "llama": AROUND,
    "mistral": AROUND,
    "gemma": AROUND,
    "gemma2": (*AROUND, *INSIDE),
    "gemma3_text": (*AROUND, *INSIDE, *OF_HEADS),
    "qwen3": (*AROUND, *OF_HEADS),
}
"""Kinds of decoder whose tensors are known here -> the norms of a layer. Of others transformers is
asked, which takes seconds and knows best."""
HEAD = "lm_head.weight"


def fits_at_sight(config: Mapping[str, Any], shapes: Shapes) -> bool:
    """Whether these are the tensors of a decoder without biases, all of them and no others."""
    text = config.get("text_config")
    part = text if isinstance(text, dict) and "hidden_size" in text else config
    kinds = config.get("architectures")
    if any(value for key, value in part.items() if BIAS.fullmatch(key)):
        return False
    if not all(ARCHITECTURE.fullmatch(str(kind)) for kind in _listed(kinds)):
        return False
    wanted = _decoder_shapes(part, count_layers(config), stored=len(shapes))
    own = {name.removeprefix("model."): shape for name, shape in shapes.items()}
    alone = len(own) == len(shapes)  # with its prefix or without
    return bool(wanted) and alone and {HEAD: wanted[HEAD], **own} == wanted


def _listed(kinds: Any) -> list[Any]:
    return kinds if isinstance(kinds, list) else []


def _decoder_shapes(
    part: Mapping[str, Any], layers: int, *, stored: int
) -> dict[str, tuple[int, ...]]:
    """Tensor -> its shape, without a prefix; {} where a config does not say all, or more layers
    than there are tensors."""
    keys = ("hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
    width, heads, inner, tokens = (part.get(key) for key in keys)
    kind = part.get("model_type")
    if not all(type(each) is int and each > 0 for each in (width, heads, inner, tokens)):
        return {}
    if not isinstance(kind, str) or kind not in NORMS or layers > stored:
        return {}
    assert isinstance(width, int) and isinstance(heads, int)
    assert isinstance(inner, int) and isinstance(tokens, int)
    each, groups = part.get("head_dim") or width // heads, part.get("num_key_value_heads") or heads
    if type(each) is not int or type(groups) is not int:
        return {}
    layer = {
        **{name: (each,) if name in OF_HEADS else (width,) for name in NORMS[kind]},
        "self_attn.q_proj": (heads * each, width),
        **dict.fromkeys(("self_attn.k_proj", "self_attn.v_proj"), (groups * each, width)),
        "self_attn.o_proj": (width, heads * each),
        **dict.fromkeys(("mlp.gate_proj", "mlp.up_proj"), (inner, width)),
        "mlp.down_proj": (width, inner),
    }
    around = {
        "embed_tokens.weight": (tokens, width),
        "norm.weight": (width,),
        HEAD: (tokens, width),
    }
    every = {f"layers.{i}.{n}.weight": s for i in range(layers) for n, s in layer.items()}
    return around | every


def count_layers(config: Mapping[str, Any]) -> int:
    """How many layers a config counts, of all its parts that know tokens; 0 if it does not."""
    stated = [
        part[key]
        for part in parts(dict(config))
        for key in LAYER_COUNTS
        if "vocab_size" in part and type(part.get(key)) is int
    ]
    return max(stated, default=0)
