"""A merge that was killed is gone on with; what its journal says and the disk does not is redone.

Attack: kill a merge, delete or damage what it had written, merge again. The journal alone would
say that all is done, and the file system gives missing bytes as zeros: a model of zeros, exit 0.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from simmerge_hub import merger
from simmerge_hub.recipe import load
from tests import nano

Damage = Callable[[Path], None]


def remove_all(folder: Path) -> None:
    """`rm -rf out.partial/*`: the hidden journal stays."""
    for path in folder.glob("[!.]*"):
        path.unlink()


def remove_one(folder: Path) -> None:
    next(folder.glob("model-*")).unlink()


def truncate(folder: Path) -> None:
    for path in folder.glob("model-*"):
        path.write_bytes(path.read_bytes()[:-100])


def flip(folder: Path) -> None:
    """One bit in each shard, in a tensor that was finished."""
    for path in folder.glob("model-*"):
        data = bytearray(path.read_bytes())
        at = 8 + int.from_bytes(data[:8], "little") + 5
        data[at] ^= 1
        path.write_bytes(data)


def claim_all(folder: Path) -> None:
    """A journal that says of every tensor that it is done."""
    journal = folder / ".journal"
    names = nano.weights()
    journal.write_text(journal.read_text() + "".join(f"{json.dumps([n, ''])}\n" for n in names))


def replace_by_link(folder: Path) -> None:
    for path in list(folder.glob("model-*")):
        moved = folder.parent / f"elsewhere-{path.name}"
        path.rename(moved)
        path.symlink_to(moved)


@pytest.mark.parametrize(
    "damage", [remove_all, remove_one, truncate, flip, claim_all, replace_by_link]
)
def test_a_damaged_partial_merge_ends_with_the_right_bytes(tmp_path: Path, damage: Damage) -> None:
    for seed, name in enumerate("ab"):
        nano.save(tmp_path / name, nano.weights(seed))
    recipe = tmp_path / "m.yaml"
    recipe.write_text(
        "simmerge: 1\nmodels: [{folder: a}, {folder: b}]\n"
        "steps: [{operator: linear, models: [a, b]}]\nshard_size: 8000\n"
    )

    def interrupt(_name: str, done: int, _total: int) -> None:
        if done == 15:
            raise KeyboardInterrupt

    merger.merge(load(recipe)[0], tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        merger.merge(load(recipe)[0], tmp_path / "out", progress=interrupt, threads=1)
    damage(tmp_path / "out.partial")
    merger.merge(load(recipe)[0], tmp_path / "out")
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    shards = sorted((tmp_path / "out").glob("model-*.safetensors"))
    assert len(shards) == 3 and not any(path.is_symlink() for path in shards)
    assert all(t.count_nonzero() for path in shards for t in load_file(path).values())
