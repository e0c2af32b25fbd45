"""Which dtype a large model runs in: bfloat16 where the processor multiplies it, else float32.

A processor that does not takes bfloat16 apart into float32 first: four times slower than float32.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MULTIPLIES = ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16")
"""What processors call it, as `torch.cpu.get_capabilities` spells it."""


@cache
def running_dtype() -> torch.dtype:
    """bfloat16, or float32 where this processor is known not to multiply bfloat16."""
    import torch

    if not hasattr(torch.cpu, "get_capabilities"):  # before torch 2.11 nobody says
        return torch.bfloat16
    known = torch.cpu.get_capabilities()
    return torch.bfloat16 if any(known.get(name) for name in MULTIPLIES) else torch.float32
