"""How much memory is free, and what a model and its logits may take of it."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path

import torch

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.shapes import shapes

MEMORY_SHARE = 0.8
"""Of the free memory, what a model may take: the rest is for what runs through it."""
LEAST_BATCH, BATCH_PART = 2**27, 32
"""Bytes of logits made at a time at most: 128 MiB, or one 32nd of the model where that is more."""


def model_bytes(checkpoint: Checkpoint, base: Checkpoint | None, dtype: str) -> int:
    """Bytes of a model's weights in a compute dtype; an adapter is folded into its base's.

    Raises:
        AlignmentError: an adapter without its base.
    """
    sizes = (prod(shape) for shape in shapes(checkpoint, base).values())
    return sum(sizes) * getattr(torch, dtype).itemsize


def batch_entries(size: int, free: int) -> int:
    """Logits (positions × vocabulary) made at a time at most, a power of two.

    Args:
        size: bytes of the model in its compute dtype. Logits take little beside it, and as the
            head of a model on disk is read for them, a large model gets more at a time.
        free: bytes of free memory, of which an eighth is used at most. It decides only where
            memory is short, so that elsewhere the same ones are made every time.
    """
    room = min(max(LEAST_BATCH, size // BATCH_PART), free // 8) // 4
    return 1 << max(0, room.bit_length() - 1)


def free_memory(device: torch.device | str = "cpu") -> int:
    """Bytes that can be allocated now; for a GPU where its own and the machine's memory allow.

    On Linux what the kernel calls available, less where the process's control group is limited;
    elsewhere half of what the machine has.
    """
    free = min(_machine_memory(Path("/proc/meminfo")), _cgroup_memory(Path("/sys/fs/cgroup")))
    if torch.device(device).type == "cuda":
        free = min(free, torch.cuda.mem_get_info(torch.device(device))[0])
    return int(free)


def _machine_memory(meminfo: Path) -> float:
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2


def _cgroup_memory(group: Path) -> float:
    """What a control group (version 2) may still take, files it has cached not counted."""
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(counts["inactive_file"]))
    except (OSError, KeyError, ValueError):  # none, or "max"
        return float("inf")
