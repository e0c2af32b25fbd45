"""JSON and YAML of others: read in a moment, or an error that says what is wrong."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.documents import (
    DocumentError,
    SeveralDocuments,
    explain,
    plain,
    read_json,
    read_json_object,
    read_yaml,
    split_card,
)

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i + 1}: &a{i + 1} {{<<: [*a{i}, *a{i}, *a{i}], k{i}: 1}}\n" for i in range(20)
)
YAML_ATTACKS = {
    "a key twice": ("a: 1\na: 2", "'a' is there twice (again in line 2)"),
    "a key twice, quoted": ('a: 1\n"a": 2', "is there twice"),
    "a number twice": ("1: a\n0x1: b", "is there twice"),
    "a key twice inside": ("x:\n- {weight: 1, weight: 2}", "'weight' is there twice"),
    "a key twice beside a merge": ("b: &b {x: 1}\nc: {<<: *b, y: 1, y: 2}", "'y' is there twice"),
    "two merges": ("b: &b {x: 1}\nc: {<<: *b, <<: *b}", "is there twice"),
    "a list as a key": ("? [a]\n: 1", "is a list or a mapping"),
    "laughs": (LAUGHS, "unfolds into more than"),
    "merges": (MERGES, "unfolds into more than"),
    "a cycle": ("a: &x [*x]", "refers to itself"),
    "a cycle of a mapping": ("&a {b: *a}", "refers to itself"),
    "deep lists": ("[" * 5000, "deeper than"),
    "deep mappings": ("{a: " * 5000, "deeper than"),
    "deep blocks": ("- " * 5000, "deeper than"),
    "a large text": ("a" * 600_000, "characters, more than"),
    "an empty number": ("!!int ''", "not of the kind its tag says"),
    "an empty float": ("!!float ''", "not of the kind its tag says"),
    "a flag that is none": ("!!bool x", "not of the kind its tag says"),
    "a date that is none": ("!!timestamp x", "not of the kind its tag says"),
    "a character that is none": (r'"\UFFFFFFFF"', "not of the kind its tag says"),
    "half a surrogate pair": (r'"\ud800"', "not of the kind its tag says"),
    "a number to multiply out": ("1:" * 90_000 + "1", "a number has"),
    "a long number": ("0x" + "f" * 5000, "a number has"),
    "a large number": ("9" * 30, "a whole number is"),
    "Python": ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
    "two documents": ("a: 1\n---\nb: 2", "another document"),
    "a control character": ("a: \x00", "special characters"),
    "no YAML": ("a: [", "in line 1"),
}


@pytest.mark.parametrize(("text", "says"), YAML_ATTACKS.values(), ids=YAML_ATTACKS)
def test_attacks_in_yaml(text: str, says: str) -> None:
    began = time.perf_counter()
    with pytest.raises(DocumentError) as caught:
        read_yaml(text)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)
    assert time.perf_counter() - began < 5


def test_what_yaml_is_for() -> None:
    assert read_yaml("") is None
    assert read_yaml("a: &a [1, 2.5, true, null, ü]\nb: *a") == {
        "a": [1, 2.5, True, None, "ü"], "b": [1, 2.5, True, None, "ü"],
    }  # fmt: skip
    assert read_yaml("b: &b {x: 1, y: 1}\nc: {<<: *b, x: 2}")["c"] == {"x": 2, "y": 1}
    assert read_yaml("b: &b {x: 1}\nc: &c {<<: *b, x: 2}\nd: {<<: *c}")["d"] == {"x": 2}
    assert read_yaml("2024-01-01: 2024-13-01") == {"2024-01-01": "2024-13-01"}
    with pytest.raises(SeveralDocuments):
        read_yaml("a\n---\nb")


@settings(max_examples=200)
@given(text=st.text(alphabet="ab:-[]{}&*!<'\"\n #|>1.?,%\\", max_size=40))
def test_any_text_is_read_as_pyyaml_does_or_refused(text: str) -> None:
    try:
        value = read_yaml(text)
    except DocumentError:
        return
    assert repr(value) == repr(yaml.load(text, Loader=yaml.SafeLoader))


JSON_ATTACKS = {
    "a key twice": ('{"a": 1, "b": 2, "a": 3}', "'a' is there twice"),
    "deep lists": ("[" * 200 + "]" * 200, "deeper than"),
    "very deep lists": ("[" * 100_000, "deeper than"),
    "very deep objects": ('{"a":' * 100_000, "deeper than"),
    "half a surrogate pair": (r'"\ud800"', "no Unicode text"),
    "no UTF-8": (b'"\xff"', "no Unicode text"),
    "a long number": ("1" * 5000, "not JSON"),
    "nothing": ("", "not JSON"),
    "large": ("[" + "1," * 600 + "1]", "bytes, more than"),
}


@pytest.mark.parametrize(("text", "says"), JSON_ATTACKS.values(), ids=JSON_ATTACKS)
def test_attacks_in_json(text: str | bytes, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_json(text, largest=1000 if says.startswith("bytes") else 10**7)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "1e999", "-1e999"])
def test_numbers_that_are_not_finite(text: str) -> None:
    read_json(text)  # transformers writes such configs
    with pytest.raises(DocumentError, match="not a finite number"):
        read_json(text, finite=True)


VALUES = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_json_is_read_back(value: Any) -> None:
    assert read_json(json.dumps(value)) == value
    assert read_json(b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=False).encode()) == value


def test_an_object() -> None:
    assert read_json_object('{"a": "😀"}') == {"a": "😀"}
    with pytest.raises(DocumentError, match="not a JSON object"):
        read_json_object("[]")


def test_yaml_as_json_has_it() -> None:
    value = read_yaml("3: .nan\ntrue: [.inf, 2]\nnull: !!binary YQ==\nx: !!set {a, b}")
    assert plain(value)["3"] is None and plain(value)["True"] == [None, 2]
    json.dumps(plain(value), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-05", 3e-05), ("-1E+3", -1000.0), ("1.5e3", 1500.0), (".5e-1", 0.05), ("3.e2", 300.0)],
)
def test_numbers_of_json_are_numbers(text: str, value: float) -> None:
    """PyYAML takes them for texts: its numbers need a point and a sign in the exponent."""
    assert read_yaml(f"a: {text}") == {"a": value}


@pytest.mark.parametrize("text", ["1e5", "12e345", "7e3", "1e-5x", "'3e-05'", "e-5", "1.2.3e4"])
def test_what_may_be_a_name_or_a_commit_stays_a_text(text: str) -> None:
    assert read_yaml(f"a: {text}") == {"a": text.strip("'")}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_as_json_writes_them_are_read(number: float) -> None:
    assert read_yaml(f"a: {json.dumps(number)}")["a"] == number


@pytest.mark.parametrize(
    ("card", "front", "body"),
    [
        ("---\na: 1\n---\n# b\n", "a: 1\n", "# b\n"),
        ("\ufeff---\r\na: 1\r\n--- \r\nb", "a: 1\r\n", "b"),
        ("---\na: 1\n---", "a: 1\n", ""),
        ("---\n---\nb", "", "b"),
        ("---\na: 1\n---b", "", "---\na: 1\n---b"),
        ("# b\n---\na: 1\n---\n", "", "# b\n---\na: 1\n---\n"),
    ],
)
def test_the_two_parts_of_a_card(card: str, front: str, body: str) -> None:
    assert split_card(card) == (front, body)


def test_what_is_wrong_is_said_without_numbers_of_errors(tmp_path: Path) -> None:
    with pytest.raises(OSError) as missing:
        (tmp_path / "nowhere").read_text()
    assert explain(missing.value) == "No such file or directory"
    assert explain(KeyError("version")) == "it has no 'version'"
    assert explain(ValueError("line 1: no")) == "line 1: no"
