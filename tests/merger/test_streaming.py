"""Streamed merges write what merges into a folder write, wherever tensors come from."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from simmerge_hub.hub.upload.outbox import Sent
from simmerge_hub.merger import merge
from simmerge_hub.merger.streaming import _read_early, stream
from simmerge_hub.recipe import Recipe
from simmerge_hub.weights.stream import Rows
from simmerge_hub.weights.writing import streamed
from tests.merger.test_activations import make_family, recipe

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


KILLS = int(os.environ.get("LAYER_KILLS", "3"))


class Box:
    """An outbox that keeps what is sent, and breaks off once `breaks` files were."""

    def __init__(self, breaks: int = 99) -> None:
        self.files: dict[str, bytes] = {}
        self.sends: list[str] = []
        self.breaks = breaks

    def find(self, files: Mapping[str, Sent]) -> dict[str, Sent]:
        return {name: sent for name, sent in files.items() if name in self.files}

    def send(self, name: str, path: Path) -> Sent:
        if len(self.sends) == self.breaks:
            raise ConnectionError(name)
        there = list(path.parent.glob("*.safetensors"))
        assert len(there) <= streamed.AT_ONCE, there
        self.files[name] = path.read_bytes()
        self.sends.append(name)
        return Sent(name=name, sha256=str(len(self.sends)) * 64, size=path.stat().st_size)


def run(made: Recipe, folder: Path, box: Box) -> dict[str, bytes]:
    """Every file of the merge, by its name."""
    small: dict[str, bytes] = {}

    def finish(_box: Any, _report: Any, place: Path) -> Any:
        small.update({p.name: p.read_bytes() for p in place.iterdir() if p.name[0] != "."})

    kept: Any = box
    stream(made, folder, begin=lambda _layout: kept, finish=finish, threads=2)
    return {**small, **box.files}


@pytest.mark.parametrize("parameters", [{"inputs": "models"}, {"inputs": "merge"}])
def test_layers_that_are_run(parameters: dict[str, Any], tmp_path: Path) -> None:
    """Norms and heads lie in other shards than what is fed: they wait in memory."""
    make_family(tmp_path, "llama")
    made = replace(recipe(tmp_path, **parameters), shard_size=20_000)
    folder = merge(made, tmp_path / "out").folder
    there = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "SHA256SUMS"}
    box = Box(breaks=3)
    with pytest.raises(ConnectionError):
        run(made, tmp_path / "work", box)
    before = list(box.sends)
    box.breaks = 99
    seen = run(made, tmp_path / "work", box)
    assert {name: seen[name] for name in there} == there
    assert len(box.sends) == len(set(box.sends)) > len(before) == 3, "none is sent twice"
    assert not (tmp_path / "work.partial").exists()


def test_what_waits_in_memory_is_read_row_by_row() -> None:
    """As an embedding is, of which the rows of the prompts' tokens are read."""
    made = torch.arange(12.0).reshape(4, 3)
    conveyor: Any = SimpleNamespace(waiting=lambda _name: made.bfloat16())
    stored: Any = None  # it lies in no shard
    rows = _read_early(Rows(shape=(4, 3), read=stored), "w", conveyor)
    assert rows.read(1, 3).equal(made[1:3])
    out = torch.zeros(1, 3)
    assert rows.read(3, 4, out) is out
    assert out.equal(made[3:])


DRIVER = """
import os, shutil, signal, sys
from pathlib import Path

import accelerate, torch
from transformers import AutoTokenizer, GenerationConfig, LlamaForCausalLM
from simmerge_hub.hub.upload.outbox import Sent
from simmerge_hub.merger import merge
from simmerge_hub.merger.streaming import stream
from simmerge_hub.recipe import load

torch.set_num_threads(1)
recipe, folder, store = load(sys.argv[1])[0], Path(sys.argv[2]), Path(sys.argv[2], "store")

class Box:
    def find(self, files):
        return {name: sent for name, sent in files.items() if (store / name).exists()}

    def send(self, name, path):
        notes = path.with_name(".sent")
        assert not notes.exists() or name not in notes.read_text(), f"{name} is sent again"
        shutil.copy(path, store / name)
        return Sent(name=name, sha256="0" * 64, size=path.stat().st_size)

def finish(_box, _report, place):
    for path in place.glob("[!.]*"):
        shutil.copy(path, store / path.name)

def run(tensors):
    def kill(_name, done, _total):
        nonlocal tensors
        tensors -= 1
        if not tensors:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        box = Box()
        stream(
            recipe, folder / "work", begin=lambda _: box, finish=finish, threads=2, progress=kill
        )
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

store.mkdir()
print(*[run(int(tensors)) for tensors in sys.argv[3:]], run(0))
"""


@pytest.mark.parametrize("inputs", ["models", "merge"])
def test_killed_layer_by_layer(inputs: str, tmp_path: Path) -> None:
    """`kill -9` after so many tensors of a run, in one run after the other."""
    make_family(tmp_path, "llama")
    made = replace(recipe(tmp_path, inputs=inputs), shard_size=20_000)
    (tmp_path / "recipe.yaml").write_text(made.to_yaml())
    folder = merge(made, tmp_path / "out").folder
    there = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "SHA256SUMS"}
    most = 28 if inputs == "merge" else 28 // KILLS  # of 30; what is done stays done, or not
    draw = random.Random(0)
    moments = [str(draw.randint(1, most)) for _ in range(KILLS)]
    command = [sys.executable, "-W", "ignore", "-c", DRIVER, tmp_path / "recipe.yaml", tmp_path]
    ran = subprocess.run(
        [*command, *moments],
        capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    killed = [str(-signal.SIGKILL)] * KILLS
    assert ran.stdout.split() == [*killed, "0"], ran.stderr
    store = {p.name: p.read_bytes() for p in (tmp_path / "store").iterdir()}
    assert {name: store[name] for name in there} == there
    assert not (tmp_path / "work.partial").exists()


def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_family(tmp_path, "llama")
    monkeypatch.setattr(streamed, "LARGEST_WAITING", 10)
    made = replace(recipe(tmp_path, inputs="merge"), shard_size=20_000)
    from simmerge_hub.errors import OutputError

    with pytest.raises(OutputError, match="cannot be sent while it is made"):
        run(made, tmp_path / "work", Box())
