"""A tokenizer with more tokens is loaded with the ids it should have."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from simmerge_hub.errors import AlignmentError, CheckpointError
from simmerge_hub.weights.tokens.extension import extend_tokenizer
from tests.weights.tokens.conftest import (
    FIRST,
    entry,
    file,
    pairs,
    pieces,
    tokens,
    words,
)


def load(files: Mapping[str, str]) -> Tokenizer:
    return Tokenizer.from_str(files["tokenizer.json"])


def test_added_tokens_are_appended(tmp_path: Path) -> None:
    source = tokens(tmp_path / "base", file(words(FIRST), (entry("<x>", 3),)))
    donor = tokens(tmp_path / "a", file(words(FIRST), (entry("<y>", 3, special=True),)))
    files = extend_tokenizer(source, {"<y>": 4}, [donor])
    assert list(files) == ["tokenizer.json"]
    written = json.loads(files["tokenizer.json"])
    assert written["model"] == source.data["model"]
    assert written["added_tokens"] == [entry("<x>", 3), entry("<y>", 4, special=True)]
    assert load(files).get_vocab() == {**FIRST, "<x>": 3, "<y>": 4}


def test_the_first_model_that_has_a_token_says_what_it_is(tmp_path: Path) -> None:
    source = tokens(tmp_path / "base", file(words(FIRST)))
    one = tokens(tmp_path / "a", file(words(FIRST), (entry("<y>", 3, special=True),)))
    two = tokens(tmp_path / "b", file(words(FIRST), (entry("<y>", 3, lstrip=True),)))
    files = extend_tokenizer(source, {"<y>": 3}, [one, two])
    assert json.loads(files["tokenizer.json"])["added_tokens"] == [entry("<y>", 3, special=True)]


def test_the_list_in_tokenizer_config_grows_too(tmp_path: Path) -> None:
    flags = {k: v for k, v in entry("<x>", 3).items() if k != "id"}
    config = {"added_tokens_decoder": {"3": flags}, "eos_token": "<x>"}
    source = tokens(tmp_path / "base", file(words(FIRST), (entry("<x>", 3),)), config)
    donor = tokens(tmp_path / "a", file(words(FIRST), (entry("<y>", 3, rstrip=True),)))
    files = extend_tokenizer(source, {"<y>": 4}, [donor])
    assert json.loads(files["tokenizer_config.json"]) == {
        "eos_token": "<x>",
        "added_tokens_decoder": {"3": flags, "4": {**flags, "content": "<y>", "rstrip": True}},
    }


def test_ordinary_tokens_keep_all_ids_when_loaded(tmp_path: Path) -> None:
    source = tokens(tmp_path / "base", file(words(FIRST), (entry("<x>", 3),)))
    donor = tokens(tmp_path / "a", file(words({**FIRST, "c": 3}), (entry("<y>", 4),)))
    tokenizer = load(extend_tokenizer(source, {"c": 4, "<y>": 5}, [donor]))
    assert tokenizer.get_vocab() == {**FIRST, "<x>": 3, "c": 4, "<y>": 5}
    assert tokenizer.encode("a c <y> <x>").ids == [1, 4, 5, 3]
    assert tokenizer.encode("a c <y> q").tokens == ["a", "c", "<y>", "<unk>"]


def test_a_vocabulary_with_gaps_keeps_its_ids(tmp_path: Path) -> None:
    gapped = file(words({"<unk>": 0, "a": 1, "b": 5}), (entry("<x>", 3),))
    source = tokens(tmp_path / "base", gapped)
    donor = tokens(tmp_path / "a", file(words(FIRST), (entry("<y>", 3),)))
    tokenizer = load(extend_tokenizer(source, {"<y>": 6}, [donor]))
    assert tokenizer.get_vocab() == {"<unk>": 0, "a": 1, "b": 5, "<x>": 3, "<y>": 6}


@pytest.mark.parametrize("listed", [True, False])
def test_merges_of_new_tokens_come_last(tmp_path: Path, listed: bool) -> None:
    written = [["a", "b"]] if listed else ["a b"]
    source = tokens(tmp_path / "base", file(pairs({**FIRST, "ab": 3}, written)))
    vocab = {**FIRST, "ba": 3, "bab": 4, "zz": 5}
    donor = tokens(tmp_path / "a", file(pairs(vocab, [["b", "a"], ["ba", "b"]])))
    files = extend_tokenizer(source, {"ba": 4, "bab": 5, "zz": 6}, [donor])
    merges = json.loads(files["tokenizer.json"])["model"]["merges"]
    more = [["b", "a"], ["ba", "b"]] if listed else ["b a", "ba b"]
    assert merges == [*written, *more]
    tokenizer = load(files)
    assert tokenizer.encode("ba ab bba").tokens == ["ba", "ab", "b", "ba"]
    assert tokenizer.encode("bab").tokens == ["b", "ab"], "what the source merges comes first"


def test_merges_of_parts_with_a_prefix(tmp_path: Path) -> None:
    """Parts inside a word are written with "##", and what they are merged into is not."""
    vocab = {**FIRST, "##b": 3, "##a": 4}
    base, own = pairs(vocab, []), pairs({**vocab, "ab": 5}, [["a", "##b"]])
    for each in (base, own):
        each["continuing_subword_prefix"] = "##"
    source, donor = tokens(tmp_path / "base", file(base)), tokens(tmp_path / "a", file(own))
    tokenizer = load(extend_tokenizer(source, {"ab": 5}, [donor]))
    assert tokenizer.encode("ab ba").tokens == ["ab", "b", "##a"]


def test_merges_that_are_none(tmp_path: Path) -> None:
    source = tokens(tmp_path / "base", file(pairs(FIRST, [])))
    donor = tokens(tmp_path / "a", file(pairs({**FIRST, "ab": 3}, [["a"]])))
    with pytest.raises(CheckpointError) as caught:
        extend_tokenizer(source, {"ab": 3}, [donor])
    assert str(caught.value) == "tokenizer.json of a has merges that are no pairs of tokens"


@pytest.mark.parametrize(
    ("base", "other", "kinds"),
    [
        (pieces("<unk>", "a"), pieces("<unk>", "a", "c"), "Unigram"),
        (words(FIRST), pieces("<unk>", "a", "c"), "Unigram and WordLevel"),
        (words(FIRST), pairs({**FIRST, "c": 3}, []), "BPE and WordLevel"),
    ],
)
def test_ordinary_tokens_that_cannot_be_joined(
    tmp_path: Path, base: dict[str, Any], other: dict[str, Any], kinds: str
) -> None:
    source, donor = tokens(tmp_path / "base", file(base)), tokens(tmp_path / "a", file(other))
    with pytest.raises(AlignmentError) as caught:
        extend_tokenizer(source, {"c": len(source.ids)}, [donor])
    assert str(caught.value) == (
        f"base lacks ordinary tokens of a (1), and {kinds} tokenizers cannot be joined"
    )
    assert caught.value.hint == "write `tokenizer: base`, or the name of one model"


def test_added_tokens_of_a_unigram(tmp_path: Path) -> None:
    source = tokens(tmp_path / "base", file(pieces("<unk>", "a"), (entry("<x>", 2),)))
    donor = tokens(tmp_path / "a", file(pieces("<unk>", "a"), (entry("<y>", 2),)))
    tokenizer = load(extend_tokenizer(source, {"<y>": 3}, [donor]))
    assert tokenizer.get_vocab() == {"<unk>": 0, "a": 1, "<x>": 2, "<y>": 3}
