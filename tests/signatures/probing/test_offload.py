"""What a model run by layers reads, and when it forgets it."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.signatures.probing import offload
from simmerge_hub.signatures.probing.offload import load_by_layers
from simmerge_hub.weights.stream import Rows, open_tensors

WEIGHTS = {"embedding": "model.embed_tokens.weight", "head": "lm_head.weight"}


@pytest.fixture
def checkpoint(tiny, tmp_path) -> Checkpoint:
    return tiny.save(tiny.model_of("llama"), tmp_path / "model")


@pytest.fixture
def watched(checkpoint) -> Iterator[tuple[dict[str, Rows], list[tuple[str, int, int]]]]:
    """A model's rows, and what has been read of them."""
    read: list[tuple[str, int, int]] = []

    def watch(name: str, rows: Rows) -> Rows:
        def reading(low, high, out=None):
            read.append((name, low, high))
            return rows.read(low, high, out)

        return Rows(shape=rows.shape, read=reading, release=rows.release)

    with open_tensors(checkpoint) as rows:
        yield {name: watch(name, each) for name, each in rows.items()}, read


def run(checkpoint, rows) -> torch.Tensor:
    folder = checkpoint.location.folder
    model = load_by_layers(folder, rows, torch.float32, torch.device("cpu")).eval()
    with torch.no_grad():
        return model(torch.tensor([[7, 5, 7, 40]])).logits


def test_each_tensor_is_read_once_and_of_the_embedding_what_is_named(checkpoint, watched):
    rows, read = watched
    run(checkpoint, rows)
    of_embedding = [(low, high) for name, low, high in read if name == WEIGHTS["embedding"]]
    assert of_embedding == [(5, 6), (7, 8), (40, 41)]
    others = [name for name, _, _ in read if name != WEIGHTS["embedding"]]
    assert sorted(others) == sorted(rows.keys() - {WEIGHTS["embedding"]})


def test_nothing_is_read_before_it_runs(checkpoint, watched):
    rows, read = watched
    load_by_layers(checkpoint.location.folder, rows, torch.float32, torch.device("cpu"))
    assert not read


def test_one_module_is_in_memory_while_it_runs_and_none_after(checkpoint, watched, monkeypatch):
    rows, _ = watched
    model = load_by_layers(checkpoint.location.folder, rows, torch.float32, torch.device("cpu"))
    held = []
    linear = torch.nn.functional.linear

    def watching(states, weight, bias=None):
        held.append(present(model))
        return linear(states, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", watching)
    with torch.no_grad():
        model(torch.tensor([[7, 5]]))
    parts = ["self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up"]
    wanted = [[f"model.layers.{n}.{p}_proj.weight"] for n in range(3) for p in [*parts, "mlp.down"]]
    assert held == wanted
    assert present(model) == []


def present(model) -> list[str]:
    """The parameters that take memory."""
    return [n for n, p in model.named_parameters() if p.device.type != "meta" and p.numel()]


def test_small_blocks_say_the_same(checkpoint, watched, monkeypatch):
    rows, read = watched
    whole = run(checkpoint, rows)
    monkeypatch.setattr(offload, "READ_ENTRIES", 100)
    read.clear()
    assert run(checkpoint, rows) == pytest.approx(whole, abs=1e-5)
    assert [(low, high) for name, low, high in read if name == WEIGHTS["head"]] == [
        (low, low + 3) for low in range(0, 96, 3)
    ]


LARGE_AND_SMALL = """
import torch
from simmerge_hub.signatures.probing.offload import map_large_blocks

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

map_large_blocks()
torch.ones(2**22)  # freed at once: from now on glibc would keep blocks as large in its heap
before, large, small = resident(), [], []
for _ in range(20):
    large.append(torch.ones(2**21))
    small.append(torch.ones(512))
large.clear()
print((resident() - before) // 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_is_large_goes_back_to_the_system_when_it_is_freed() -> None:
    """Without it 159 of 168 MB stay: what is small and stays lies between what was freed."""
    command = [sys.executable, "-c", LARGE_AND_SMALL]
    left = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(left.stdout) < 10
