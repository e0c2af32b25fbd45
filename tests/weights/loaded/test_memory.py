"""What memory is free, as the system says it, and what is done in it at a time."""

import os
from pathlib import Path

import pytest

from simmerge_hub.weights.loaded import memory


@pytest.mark.parametrize(
    ("size", "free", "entries"),
    [
        (2**20, 2**40, 2**25),
        (2**35, 2**40, 2**28),
        (2**35, 2**32, 2**27),
        (2**35, 2**31 + 5, 2**26),
        (2**35, 0, 1),
    ],
)
def test_batches_grow_with_the_model_and_shrink_with_memory(
    size: int, free: int, entries: int
) -> None:
    assert memory.batch_entries(size, free) == entries


def test_free_memory_is_what_the_kernel_says(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:  2048 kB\nMemFree: 3 kB\nMemAvailable:   1024 kB\n")
    assert memory._machine_memory(file) == 2**20
    file.write_text("MemTotal:  2048 kB\n")
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    assert memory._machine_memory(file) == half == memory._machine_memory(tmp_path / "none")
    assert 0 < memory.free_memory() < 2 * half


def test_free_memory_is_what_the_control_group_grants(tmp_path: Path) -> None:
    assert memory._cgroup_memory(tmp_path) == float("inf")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._cgroup_memory(tmp_path) == float("inf")
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("800\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 100\n")
    assert memory._cgroup_memory(tmp_path) == 300
    (tmp_path / "memory.current").write_text("1200\n")
    assert memory._cgroup_memory(tmp_path) == 0
