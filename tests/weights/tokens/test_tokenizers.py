"""tokenizer.json is believed only where it says what loading it would say."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.weights.tokens.tokenizers import (
    ids_with_rows,
    pipeline_notes,
    read_tokens,
    vocabulary_files,
)
from tests.weights.tokens.conftest import (
    FIRST,
    checkpoint,
    entry,
    file,
    pairs,
    pieces,
    tokens,
    words,
)


@pytest.mark.parametrize(
    "content",
    [
        file(words(FIRST), (entry("<x>", 3), entry("<y>", 4))),
        file(words(FIRST), (entry("<unk>", 0), entry("<x>", 3))),
        file(words({"<unk>": 0, "a": 1, "<x>": 7, "b": 9}), (entry("<x>", 7),)),
        file(words({"<unk>": 0, "<x>": 7}), (entry("<x>", 7), entry("<y>", 2))),
        file(pairs({**FIRST, "ab": 3}, ["a b"]), (entry("<x>", 4),)),
        file(pairs({**FIRST, "ab": 3}, [["a", "b"]]), (entry("<x>", 4),)),
        file(pieces("<unk>", "a", "b"), (entry("<x>", 3),)),
        file(pieces("<unk>", "a", "a"), (entry("<x>", 3),)),
        file({"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 9, "vocab": FIRST}, (entry("<x>", 3),)),
    ],
)  # fmt: skip
def test_ids_are_those_of_the_tokenizers_library(tmp_path: Path, content: dict[str, Any]) -> None:
    loaded = Tokenizer.from_str(json.dumps(content)).get_vocab()
    assert tokens(tmp_path / "a", content).ids == loaded


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 9), min_size=1),
    st.lists(st.tuples(st.sampled_from("abcxyz"), st.integers(0, 12)), max_size=4),
)
def test_what_is_read_is_what_is_loaded(
    tmp_path_factory: pytest.TempPathFactory,
    vocab: dict[str, int],
    added: list[tuple[str, int]],
) -> None:
    content = file(words(vocab), tuple(entry(*each) for each in added))
    loaded = Tokenizer.from_str(json.dumps(content)).get_vocab()
    try:
        read = tokens(tmp_path_factory.mktemp("t") / "a", content)
    except CheckpointError:
        unlike = any(loaded[token] != number for token, number in added)
        twice = len(set(loaded.values())) < len(loaded)
        assert unlike or twice
    else:
        assert read.ids == loaded


def test_flags_of_added_tokens(tmp_path: Path) -> None:
    content = file(words(FIRST), (entry("<x>", 3, special=True, lstrip=True),))
    read = tokens(tmp_path / "a", content)
    assert read.added == {"<x>": entry("<x>", 3, special=True, lstrip=True)}
    assert read.kind == "WordLevel"


def test_tokens_that_only_the_config_lists(tmp_path: Path) -> None:
    listed = {"3": entry("<x>", None, special=True), "4": entry("<y>", None)}
    for each in listed.values():
        del each["id"]
    content = file(words(FIRST), (entry("<x>", 3, special=True),))
    read = tokens(tmp_path / "a", content, {"added_tokens_decoder": listed})
    assert read.ids == {**FIRST, "<x>": 3, "<y>": 4}


@pytest.mark.parametrize("missing", ["WordLevel", "BPE"])
def test_old_files_do_not_name_the_kind(tmp_path: Path, missing: str) -> None:
    model = words(FIRST) if missing == "WordLevel" else pairs(FIRST, [])
    del model["type"]
    assert tokens(tmp_path / "a", file(model)).kind == missing


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ("{", "is no JSON object"),
        ("[" * 100_000, "is no JSON object"),
        ("[1]", "is no JSON object"),
        ("\x00", "is no JSON object"),
        ('{"model": {"vocab": {"a": ' + "9" * 5000 + "}}}", "is no JSON object"),
        ({"version": "1.0"}, "has no vocabulary"),
        (file([]), "has no vocabulary"),  # type: ignore[arg-type]
        (file(words(7)), "has no vocabulary"),
        (file(words([["a"]])), "has a vocabulary that is no list of [piece, score]"),
        (file(words([1, 2])), "has a vocabulary that is no list of [piece, score]"),
        (file(words([["a", "b"]])), "has a vocabulary that is no list of [piece, score]"),
        (file(words({"a": -1})), "has an id that is none: -1 for 'a'"),
        (file(words({"a": True})), "has an id that is none: True for 'a'"),
        (file(words({"a": 1.0})), "has an id that is none: 1.0 for 'a'"),
        (file(words({"a": [[]]})), "has an id that is none: [[]] for 'a'"),
        (file(words({"a": 0, "b": 0})), "gives the id 0 to 'a' and 'b'"),
        (file(words({"a": 10**15})),
         f"gives the id {10**15} to 'a', far beyond the others (tokens: 1)"),
        (file(words({"a": 0, "b": 2**63})),
         f"gives the id {2**63} to 'b', far beyond the others (tokens: 2)"),
        (file(words(FIRST, type="Hash")), "has a model of an unknown type, 'Hash'"),
        (file(words(FIRST, type=["BPE"])), "has a model of an unknown type, \"['BPE']\""),
        (file(words(FIRST), {"a": 1}), "has added_tokens that are no list"),
        (file(words(FIRST), ("x",)), "has an added token without a text"),
        (file(words(FIRST), ({"id": 3, "content": 5},)), "has an added token without a text"),
        (file(words(FIRST), (entry("x", None),)), "has an id that is none: None for 'x'"),
        (file(words(FIRST), (entry("x", -3),)), "has an id that is none: -3 for 'x'"),
        (file(words(FIRST), (entry("x", 1),)), "says that 'x' is 1, which is loaded as 3"),
        (file(words(FIRST), (entry("x", 10**12),)),
         f"says that 'x' is {10**12}, which is loaded as 3"),
        (file(words(FIRST), (entry("a", 5),)), "says that 'a' is 5, which is loaded as 1"),
        (file(words({"a": 0, "b": 2}), (entry("x", 2),)), "gives the id 2 to 'b' and 'x'"),
    ],
)  # fmt: skip
def test_hostile_files(tmp_path: Path, content: Any, seen: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        tokens(tmp_path / "a", content)
    assert str(caught.value) == f"tokenizer.json of a {seen}"
    assert caught.value.hint.startswith("load its tokenizer with transformers")


def test_a_hostile_config(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_tokens(checkpoint(tmp_path / "a", file(words(FIRST)), "{"), None)
    assert str(caught.value) == "tokenizer_config.json of a is no JSON object"
    for wrong in ({"-1": {"content": "x"}}, {"9" * 99: {"content": "x"}}, {"x": {"content": "x"}}):
        with pytest.raises(CheckpointError, match=r"has an id that is none: -1 for 'x'"):
            tokens(tmp_path / "a", file(words(FIRST)), {"added_tokens_decoder": wrong})
    with pytest.raises(CheckpointError, match="has an added token without a text"):
        tokens(tmp_path / "a", file(words(FIRST)), {"added_tokens_decoder": {"3": {"content": []}}})
    assert tokens(tmp_path / "a", file(words(FIRST)), {"added_tokens_decoder": [1]}).ids == FIRST
    assert (
        tokens(tmp_path / "a", file(words(FIRST)), {"added_tokens_decoder": {"3": 1}}).added == {}
    )


def test_an_id_may_be_as_high_as_the_rows_allow(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "a", file(words({"a": 0, "b": 99_999})))
    assert read_tokens(model, 100_000).ids["b"] == 99_999
    with pytest.raises(CheckpointError) as caught:
        read_tokens(model, 50)
    assert str(caught.value) == (
        "tokenizer.json of a gives the id 99999 to 'b', far beyond the others (tokens: 2, rows: 50)"
    )


def test_the_formats_of_a_tokenizer(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "a", "{}", {})
    assert vocabulary_files(model) == ("tokenizer.json",)
    for name in ("tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja"):
        (tmp_path / "a" / name).write_text("")
    (tmp_path / "a" / "tokenizer.json").unlink()
    assert vocabulary_files(resolve(str(tmp_path / "a"))) == (
        "merges.txt",
        "tokenizer.model",
        "vocab.json",
    )


def test_the_same_tokens_of_text_that_is_treated_otherwise(tmp_path: Path) -> None:
    vocab = {"a": 0, "b": 1, "ab": 2}
    plain = file(pairs(vocab, ["a b"]))
    contents = {
        "one": plain,
        "same": {**file(pairs(vocab, [["a", "b"]])), "truncation": {"max_length": 5}},
        "lower": {**plain, "normalizer": {"type": "Lowercase"}},
        "split": {**file(pairs(vocab, [])), "post_processor": {"type": "ByteLevel"}},
    }
    one, *others = [checkpoint(tmp_path / name, content) for name, content in contents.items()]
    said = "treats text otherwise than that of one, which the output has"
    assert pipeline_notes([one, *others], one) == [
        f"the tokenizer of lower {said}: normalizer",
        f"the tokenizer of split {said}: post_processor, merges",
    ]


def test_tokens_beyond_the_rows_have_none(tmp_path: Path) -> None:
    read = tokens(tmp_path / "a", file(words(FIRST), (entry("<x>", 3),)))
    assert ids_with_rows(read, 3) == FIRST
    assert ids_with_rows(read, None) == {**FIRST, "<x>": 3}
