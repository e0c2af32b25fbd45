"""Files are opened once, closed after their last tensor, and deleted only if they are new."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simmerge_hub.hub.files.cached import Fetched
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.weights import shelf
from simmerge_hub.weights.shelf import Shelf
from tests import nano

FILES = [f"model-{n:05}-of-00003.safetensors" for n in (1, 2, 3)]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """Four tensors in three files: a and d are in the first."""
    tensors = {name: torch.zeros(2, 2) for name in "abcd"}
    return resolve(str(nano.save(tmp_path / "model", tensors, config={}, shards=3)))


def is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


def test_a_file_stays_open_until_its_last_tensor_is_done(checkpoint: Checkpoint) -> None:
    with Shelf(checkpoint, "abcd", evict=False) as files:
        first = files.handle(FILES[0])
        assert files.handle(FILES[0]) == first
        assert os.fstat(first).st_size == (checkpoint.location.folder / FILES[0]).stat().st_size  # type: ignore[operator]
        files.release("a")
        assert is_open(first)
        files.release("d")
        assert not is_open(first)
        second = files.handle(FILES[1])
    assert not is_open(second)


def test_a_scale_keeps_its_file_open(checkpoint: Checkpoint) -> None:
    """b's scale lies in the first file, as if it were c's tensor there."""
    tensors = dict(checkpoint.tensors)
    tensors["b"] = replace(tensors["b"], scale=tensors["a"], block=(1, 1))
    with Shelf(replace(checkpoint, tensors=tensors), "ab", evict=False) as files:
        first = files.handle(FILES[0])
        files.release("a")
        assert is_open(first)
        files.release("b")
        assert not is_open(first)


@pytest.mark.parametrize("evict", [False, True])
@pytest.mark.parametrize("new", [False, True])
def test_one_file_is_fetched_ahead_and_only_new_ones_are_deleted(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, evict: bool, new: bool
) -> None:
    folder = checkpoint.location.folder
    assert folder is not None
    asked: list[str] = []
    deleted: list[str] = []

    def fetch(_: object, file: str) -> Fetched:
        asked.append(file)
        return Fetched(path=folder / file, new=new)

    monkeypatch.setattr(shelf, "fetch", fetch)
    monkeypatch.setattr(shelf, "discard", lambda fetched: deleted.append(fetched.path.name))
    with Shelf(checkpoint, "abcd", evict=evict) as files:
        files.handle(FILES[0])
        files._pool.submit(lambda: None).result()  # what was asked before has been done
        assert asked == FILES[:2]
        files.release("a")
        files.release("d")
        assert deleted == (FILES[:1] if evict and new else [])
        files.handle(FILES[1])
        files._pool.submit(lambda: None).result()
    assert asked == FILES
    assert deleted == (FILES[:2] if evict and new else [])
