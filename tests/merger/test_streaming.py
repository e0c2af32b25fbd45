"""Streamed merges write what merges into a folder write, wherever tensors come from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.hub.upload.outbox import Sent
from simmerge_hub.merger import merge
from simmerge_hub.merger.streaming import stream
from simmerge_hub.recipe import Recipe
from simmerge_hub.weights.writing import streamed
from tests.merger.test_activations import make_family, recipe

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


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

    def finish(_report: Any, place: Path) -> None:
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


def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_family(tmp_path, "llama")
    monkeypatch.setattr(streamed, "LARGEST_WAITING", 10)
    made = replace(recipe(tmp_path, inputs="merge"), shard_size=20_000)
    from simmerge_hub.errors import OutputError

    with pytest.raises(OutputError, match="cannot be sent while it is made"):
        run(made, tmp_path / "work", Box())
