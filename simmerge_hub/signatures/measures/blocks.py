"""Which block of a transformer a tensor belongs to, and how deep it lies, from its name alone.

Knows the naming of Llama, Qwen, Gemma, Mistral, Mixtral, OLMo, Phi, Falcon, GPT-2 and GPT-NeoX.
"""

import re
from collections.abc import Iterable, Sequence

BLOCKS = ("embedding", "attention", "mlp", "norm", "head")
THIRDS = ("early", "middle", "late")
GROUPS = ("all", *BLOCKS, *THIRDS)
"""`all` and the thirds hold matrices only: norms and biases are vectors, and have their block."""

LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks|block)\.(\d+)\.")
PATTERNS = (
    ("head", re.compile(r"(?:^|\.)(?:lm_head|embed_out|output)\.weight$")),
    ("attention", re.compile(r"attn|attention|(?:^|[._])[qkvo]_proj|query_key_value")),
    ("mlp", re.compile(r"mlp|feed_forward|ffn|expert|moe|(?:gate|up|down)_proj|\.fc\d?\b|router")),
    ("embedding", re.compile(r"embed|(?:^|\.)w[tp]e\.")),
)


def block_of(name: str, shape: Sequence[int]) -> str:
    """One of BLOCKS, or "other". Vectors (norms, biases, scales) are all in the block `norm`."""
    if len(shape) < 2:
        return "norm"
    return next((block for block, pattern in PATTERNS if pattern.search(name)), "other")


def layer_of(name: str) -> int | None:
    """The number of the layer a tensor lies in; None outside the layers."""
    match = LAYER.search(name)
    return int(match[1]) if match else None


def layer_count(names: Iterable[str]) -> int:
    """How many layers these tensors come from."""
    return 1 + max((n for n in map(layer_of, names) if n is not None), default=-1)


def third_of(layer: int, layers: int) -> str:
    """Which third of the depth the middle of a layer lies in."""
    return THIRDS[int(3 * (layer + 0.5) / layers)]


def groups_of(name: str, shape: Sequence[int], layers: int) -> tuple[str, ...]:
    """All the GROUPS a tensor counts in."""
    block = block_of(name, shape)
    if block == "norm":
        return ("norm",)
    layer = layer_of(name)
    third = () if layer is None else (third_of(layer, layers),)
    return ("all", block, *third)
