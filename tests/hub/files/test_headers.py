"""Headers that must not be believed: a list of attacks, and whatever hypothesis thinks of."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from simmerge_hub.errors import CorruptHeader
from simmerge_hub.hub.files.headers import (
    LENGTH_BYTES,
    LONGEST_HEADER,
    header_length,
    parse_header,
    parse_index,
)

FILE = "model.safetensors"
HINT = "the file is damaged or was not fully uploaded; fetch it again or ask its author"


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def parse(header: Any, data: int) -> dict[str, Any]:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return parse_header(text, LENGTH_BYTES + len(text) + data, FILE)


def read(whole: bytes) -> dict[str, Any]:
    """A file as `resolve` reads it."""
    length = header_length(whole[:LENGTH_BYTES], len(whole), FILE)
    return parse_header(whole[LENGTH_BYTES : LENGTH_BYTES + length], len(whole), FILE)


GOOD = save({"b": np.ones((2, 3), np.float32), "a": np.zeros((4,), np.float16)}, {"format": "pt"})

ATTACKS: dict[str, tuple[Any, int, str]] = {
    "not json": (b"{", 0, "it is not JSON"),
    "not utf-8": (b'{"\xff": 1}', 0, "it holds what is no Unicode text"),
    "half a surrogate pair": (
        b'{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8, "no Unicode text",
    ),
    "a list": ([], 0, "it is not a JSON object"),
    "deep nesting": (b"[" * 100_000 + b"]" * 100_000, 0, "deeper than 100 levels"),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 0, "deeper than 100 levels"),
    "a name twice": (
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        b'"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}}',
        8,
        "'a' is there twice",
    ),
    "a field twice": (
        b'{"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}',
        8,
        "'dtype' is there twice",
    ),
    "a huge number": (b'{"a":' + b"9" * 10_000 + b"}", 0, "it is not JSON"),
    "an entry that is a list": ({"a": []}, 0, "the entry of 'a' is no object"),
    "an entry that is null": ({"a": None}, 0, "the entry of 'a' is no object"),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, 8, "'a' has the unknown dtype ()"),
    "unknown dtype": ({"a": entry("F33")}, 8, "'a' has the unknown dtype 'F33'"),
    "dtype is a list": ({"a": entry() | {"dtype": ["F32"]}}, 8, "unknown dtype ['F32']"),
    "negative shape": ({"a": entry(shape=(-2,))}, 8, "'a' has shape [-2]"),
    "two negative dimensions": ({"a": entry(shape=(-2, -1))}, 8, "'a' has shape [-2, -1]"),
    "fractional shape": ({"a": entry(shape=(2.0,))}, 8, "'a' has shape [2.0]"),
    "true as a dimension": ({"a": entry(shape=(2, True))}, 8, "'a' has shape [2, True]"),
    "shape is text": ({"a": entry() | {"shape": "2"}}, 8, "'a' has shape '2'"),
    "a million dimensions": ({"a": entry(shape=[2] * 10**6)}, 8, "'a' has 1,000,000 dimensions"),
    "overflowing shape": ({"a": entry(shape=(2**40, 2**40))}, 8, "has 8 bytes"),
    "shape that wraps to 8 bytes": ({"a": entry(shape=(2**62 + 2,))}, 8, "has 8 bytes"),
    "one offset": ({"a": entry(offsets=(0,))}, 8, "offsets [0]"),
    "three offsets": ({"a": entry(offsets=(0, 8, 8))}, 8, "offsets [0, 8, 8]"),
    "negative offset": ({"a": entry(offsets=(-8, 0))}, 8, "offsets [-8, 0]"),
    "end before start": ({"a": entry(offsets=(8, 0))}, 8, "has -8 bytes"),
    "too few bytes": ({"a": entry(offsets=(0, 4))}, 4, "'a' is F32 [2] but has 4 bytes"),
    "odd sub-byte size": ({"a": entry("F4", (3,), (0, 2))}, 2, "'a' is F4 [3] but has 2 bytes"),
    "gap in front": ({"a": entry(offsets=(4, 12))}, 12, "'a' starts at byte"),
    "gap between": (
        {"a": entry(offsets=(0, 8)), "b": entry(offsets=(12, 20))}, 20, "'b' starts at byte",
    ),
    "overlap": (
        {"a": entry(offsets=(0, 8)), "b": entry(offsets=(4, 12))}, 12, "'b' starts at byte",
    ),
    "the same bytes twice": ({"a": entry(), "b": entry()}, 8, "'b' starts at byte"),
    "data after the last": ({"a": entry()}, 9, "the tensors end at byte"),
    "data missing": ({"a": entry()}, 7, "the tensors end at byte"),
    "beyond the file": ({"a": entry(offsets=(2**60, 2**60 + 8))}, 8, "'a' starts at byte"),
}  # fmt: skip


@pytest.mark.parametrize(("header", "data", "seen"), ATTACKS.values(), ids=ATTACKS)
def test_attacks_on_the_header(header: Any, data: int, seen: str) -> None:
    with pytest.raises(CorruptHeader) as caught:
        parse(header, data)
    assert str(caught.value).startswith(f"{FILE} cannot be believed: ")
    assert seen in str(caught.value)
    assert len(str(caught.value)) < 300
    assert caught.value.hint == HINT


@pytest.mark.parametrize(
    ("first", "size", "seen"),
    [
        (b"", 0, "the file has only 0 bytes"),
        (b"\0" * 7, 7, "the file has only 7 bytes"),
        (b"\0" * 4, 100, "the file has only 100 bytes"),
        ((93).to_bytes(8, "little"), 100, "the header claims 93 bytes of a file of 100"),
        (b"\xff" * 8, 100, "the header claims 18,446,744,073,709,551,615 bytes"),
        (
            (LONGEST_HEADER + 1).to_bytes(8, "little"),
            2 * LONGEST_HEADER,
            "the header claims 100,000,001 bytes",
        ),
    ],
)
def test_attacks_on_the_length(first: bytes, size: int, seen: str) -> None:
    with pytest.raises(CorruptHeader) as caught:
        header_length(first, size, FILE)
    assert seen in str(caught.value)


def test_the_longest_header_is_allowed() -> None:
    assert (
        header_length(LONGEST_HEADER.to_bytes(8, "little"), 2 * LONGEST_HEADER, FILE)
        == LONGEST_HEADER
    )


def test_what_safetensors_writes_is_believed() -> None:
    tensors = read(GOOD)
    assert set(tensors) == {"a", "b"}
    assert tensors["b"].shape == (2, 3)
    assert tensors["b"].entries == 6
    for name, expected in {"a": np.zeros(4, np.float16), "b": np.ones(6, np.float32)}.items():
        at = tensors[name]
        assert np.array_equal(np.frombuffer(GOOD[at.start : at.end], expected.dtype), expected)


def test_tensors_come_in_file_order() -> None:
    header = {"z": entry(offsets=(8, 16)), "a": entry(offsets=(16, 24)), "m": entry()}
    assert list(parse(header, 24)) == ["m", "z", "a"]


def test_scalars_and_empty_tensors() -> None:
    header = {
        "scalar": entry(shape=(), offsets=(0, 4)),
        "empty": entry(shape=(0, 5), offsets=(4, 4)),
        "last": entry(offsets=(4, 12)),
    }
    assert list(parse(header, 12)) == ["scalar", "empty", "last"]


@pytest.mark.parametrize("dtype", ["F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E4M3", "U8", "BOOL"])
def test_every_one_byte_dtype_of_the_format(dtype: str) -> None:
    assert parse({"a": entry(dtype, (8,), (0, 8))}, 8)["a"].dtype == dtype


def test_dtypes_smaller_than_a_byte() -> None:
    assert parse({"a": entry("F4", (4,), (0, 2))}, 2)["a"].entries == 4
    assert parse({"a": entry("F6_E2M3", (4,), (0, 3))}, 3)["a"].entries == 4


@pytest.mark.parametrize("cut", range(0, len(GOOD), 5))
def test_every_truncation_is_noticed(cut: int) -> None:
    with pytest.raises(CorruptHeader):
        read(GOOD[:cut])


@settings(deadline=None)
@given(at=st.integers(0, len(GOOD) - 41), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_harmless(at: int, value: int) -> None:
    """Nothing but CorruptHeader ever escapes, and what is believed lies inside the file."""
    damaged = GOOD[:at] + bytes([value]) + GOOD[at + 1 :]
    try:
        tensors = read(damaged)
    except CorruptHeader:
        return
    assert all(0 < t.start <= t.end <= len(damaged) for t in tensors.values())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "F4", "X"]) | JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | JSON,
    },
)


@settings(deadline=None)
@given(
    header=st.dictionaries(st.text(max_size=4), ENTRY | JSON, max_size=4), data=st.integers(0, 64)
)
def test_any_json_is_refused_or_tiles_the_file(header: dict[str, Any], data: int) -> None:
    text = json.dumps(header).encode()
    try:
        tensors = parse(text, data)
    except CorruptHeader:
        return
    at = LENGTH_BYTES + len(text)
    for tensor in tensors.values():
        assert tensor.start == at
        at = tensor.end
    assert at == LENGTH_BYTES + len(text) + data


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_tile_the_file(whole: bytes) -> None:
    try:
        tensors = read(whole)
    except CorruptHeader:
        return
    assert all(t.end <= len(whole) for t in tensors.values())


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    "shard",
    [
        "../model.safetensors",
        "..\\model.safetensors",
        "/etc/model.safetensors",
        "sub/model.safetensors",
        "C:model.safetensors",
        ".hidden.safetensors",
        ".safetensors",
        "model\0.safetensors",
        "model.bin",
        "model.safetensors/",
        "",
        None,
        3,
        ["model.safetensors"],
    ],
)
def test_an_index_that_leaves_its_folder(shard: Any) -> None:
    with pytest.raises(CorruptHeader) as caught:
        parse_index(json.dumps({"weight_map": {"a": shard}}).encode(), INDEX)
    assert str(caught.value) == (
        f"{INDEX} cannot be believed: 'a' is said to lie in {shard!r}, which is no plain file"
    )
    assert caught.value.hint == HINT


@pytest.mark.parametrize(
    "text", [b"{}", b'{"weight_map": {}}', b'{"weight_map": []}', b'{"weight_map": null}']
)
def test_an_index_without_a_map(text: bytes) -> None:
    with pytest.raises(CorruptHeader, match="it has no weight_map"):
        parse_index(text, INDEX)


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_an_index_that_is_no_object(text: bytes) -> None:
    with pytest.raises(CorruptHeader, match=r"it is (not (a )?JSON|deeper)|no Unicode"):
        parse_index(text, INDEX)


def test_a_good_index() -> None:
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    assert parse_index(json.dumps({"weight_map": shards}).encode(), INDEX) == shards
