"""A signature's file: what comes back, and what a stranger may have written instead."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from simmerge_hub.errors import SignatureError
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing import store
from simmerge_hub.signatures.signing.artifact import Settings, Signature, dump_part, load, save

ODD: tuple[Any, ...] = (None, True, -1, 1.5, "text", [], {}, [None], {"a": None})


def tiny_sketch() -> Sketch:
    """One prompt, one position, a vocabulary of two, one layer of width 2, no attention."""
    return Sketch(
        probes="p", tokens="t", vocabulary=2,
        logprobs=np.log(np.array([[0.25, 0.75]], np.float32)),
        ids=np.empty(0, np.int32), tail=np.empty(0, np.float32),
        entropy=np.array([0.5623], np.float32), loss=np.array([0.3], np.float32),
        ends=np.array([True]), hidden=np.array([[[3.0, 4.0]]], np.float32),
        depths=np.array([0.5], np.float32), attention=np.empty(0, np.float16),
        attention_depths=np.empty(0, np.float32),
    )  # fmt: skip


def tiny_signature() -> Signature:
    """One matrix and one sketch."""
    return Signature(
        name="org/a", commit="c", digest="d", kind="full", settings=Settings(entries=8),
        shapes={"w": (2, 2)}, sampled={"w": torch.tensor([[1.0, 2.0]])},
        sketches={"t": tiny_sketch()},
    )  # fmt: skip


@pytest.fixture
def written(tmp_path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors of the tiny signature, as they are stored."""
    save(tiny_signature(), tmp_path / "sound")
    header, values = store.read(tmp_path / "sound")
    return header, {name: each.tensor() for name, each in values.items()}


def test_everything_comes_back(tmp_path: Path) -> None:
    before = tiny_signature()
    save(before, tmp_path / "file")
    after = load(tmp_path / "file")
    for name in ("name", "commit", "digest", "kind", "settings", "shapes", "approximate"):
        assert getattr(after, name) == getattr(before, name)
    assert after.sampled["w"].tolist() == [[1.0, 2.0]]
    scalars, arrays = dump_part(after.sketches["t"])
    assert scalars == {"probes": "p", "tokens": "t", "vocabulary": 2}
    for name, array in dump_part(before.sketches["t"])[1].items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a JSON document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def change(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with one value replaced."""
    copy = json.loads(json.dumps(document))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


def test_whatever_a_header_says_it_is_read_or_refused(
    written: tuple[dict[str, Any], dict[str, Tensor]], tmp_path: Path
) -> None:
    header, tensors = written
    refused = 0
    for path in places(header):
        for value in ODD:
            store.write(tmp_path / "odd", change(header, path, value), tensors)
            try:
                load(tmp_path / "odd")
            except SignatureError as error:
                assert "odd is no signature: " in str(error)
                refused += 1
    assert refused > 100


def remove(name: str) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {n: t for n, t in tensors.items() if n != f"sketch/t/{name}"}


def put(name: str, value: Tensor) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {**tensors, f"sketch/t/{name}": value}


@pytest.mark.parametrize(
    ("edit", "flaw"),
    [
        (remove("loss"), "it lacks 'loss' of a sketch"),
        (put("more", torch.zeros(1)), "more than belongs into one"),
        (put("loss", torch.tensor(0.5)), r"loss of a sketch is torch.float32 \(\)"),
        (put("loss", torch.zeros(1, dtype=torch.bfloat16)), "loss of a sketch is torch.bfloat16"),
    ],
)
def test_a_sketch_with_other_arrays_is_refused(
    edit: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
    flaw: str,
    written: tuple[dict[str, Any], dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    header, tensors = written
    store.write(tmp_path / "odd", header, edit(tensors))
    with pytest.raises(SignatureError, match=f"odd is no signature: .*{flaw}"):
        load(tmp_path / "odd")


def test_a_bug_of_ours_is_no_flaw_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tiny_signature(), tmp_path / "file")

    def broken(**_: Any) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr("simmerge_hub.signatures.signing.artifact.Signature", broken)
    with pytest.raises(TypeError, match="a bug"):
        load(tmp_path / "file")
