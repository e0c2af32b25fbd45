"""Rows are matched by token: with real tokenizers, read back by transformers."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from simmerge_hub.errors import AlignmentError, CheckpointError, RecipeError
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.weights.alignment.align import align
from simmerge_hub.weights.stream import open_tensors
from simmerge_hub.weights.tokens.origins import rearrange
from simmerge_hub.weights.tokens.vocabulary import Vocabulary, match_vocabularies
from tests import nano

BASIC = ("<unk>", "a", "b", "c")
EMBEDDING, HEAD, BIAS = "model.embed_tokens.weight", "lm_head.weight", "lm_head.bias"


def word_level(tokens: Sequence[str], added: Sequence[str | AddedToken] = ()) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    return _with(tokenizer, added)


def bpe(tokens: Sequence[str], merges: Sequence[tuple[str, str]], added: Sequence[Any] = ()):
    vocab = {token: number for number, token in enumerate(tokens)}
    return _with(Tokenizer(models.BPE(vocab, list(merges), unk_token="<unk>")), added)


def unigram(tokens: Sequence[str], added: Sequence[str | AddedToken] = ()) -> Tokenizer:
    return _with(Tokenizer(models.Unigram([(t, -1.0) for t in tokens], 0, False)), added)


def _with(tokenizer: Tokenizer, added: Sequence[str | AddedToken]) -> Tokenizer:
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer.add_tokens(list(added))
    return tokenizer


def save(
    folder: Path,
    tokenizer: Tokenizer | None,
    rows: int,
    *,
    seed: int = 0,
    tensors: Mapping[str, Tensor] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """A model with an embedding, a head and its bias, whose numbers say model and row."""
    numbers = 100.0 * seed + torch.arange(rows)
    stored = tensors or {
        EMBEDDING: numbers[:, None] + torch.tensor([0.0, 0.25]),
        HEAD: -numbers[:, None] + torch.tensor([0.0, 0.25]),
        BIAS: numbers,
        "model.norm.weight": torch.ones(2),
    }
    nano.save(folder, stored, config=config or {"vocab_size": rows}, tokenizer=False)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(
            '{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}'
        )
    return resolve(str(folder))


def merge_rows(
    matched: Vocabulary, checkpoints: Mapping[str, Checkpoint], base: str | None, name: str
) -> dict[str, Tensor]:
    with ExitStack() as stack:
        rows = {
            each: stack.enter_context(open_tensors(c, checkpoints.get(base or "")))[name]
            for each, c in checkpoints.items()
        }
        given = rearrange(matched.origins, base, rows)
        high = 1 if name == BIAS else matched.size
        read = {each: found_rows.read(0, high) for each, found_rows in given.items()}
    assert all(given[each].shape[0] == matched.size for each in given)
    return read


def first_column(
    matched: Vocabulary, checkpoints: Mapping[str, Checkpoint], base: str | None
) -> dict[str, list[float]]:
    """The first entry of every embedding row: 100 · seed + row."""
    columns = {
        model: rows[:, 0].tolist()
        for model, rows in merge_rows(matched, checkpoints, base, EMBEDDING).items()
    }
    heads = merge_rows(matched, checkpoints, base, HEAD)
    biases = merge_rows(matched, checkpoints, base, BIAS)
    for model, column in columns.items():
        assert heads[model][:, 0].neg().tolist() == pytest.approx(column)
        assert biases[model][0].tolist() == column
    return columns


def write(folder: Path, matched: Vocabulary, source: Checkpoint) -> PreTrainedTokenizerFast:
    """The output's tokenizer, as transformers loads it."""
    folder.mkdir()
    for name in source.tokenizer_files:
        copyfile(source.location.folder / name, folder / name)  # type: ignore[operator]
    for name, text in matched.files.items():
        (folder / name).write_text(text)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.fixture
def chat(tmp_path: Path) -> dict[str, Checkpoint]:
    """A base with padding rows; a with ChatML; b with a token of a and one of its own."""
    start, end = AddedToken("<|start|>", special=True), AddedToken("<|end|>", lstrip=True)
    return {
        "base": save(tmp_path / "base", word_level(BASIC), 5, seed=1),
        "a": save(tmp_path / "a", word_level(BASIC, [start, end]), 6, seed=2),
        "b": save(tmp_path / "b", word_level(BASIC, ["<tool>", start]), 8, seed=3),
    }


def test_union(tmp_path: Path, chat: dict[str, Checkpoint]) -> None:
    matched = match_vocabularies(chat, "base", "union")
    assert matched is not None
    assert (matched.size, matched.source) == (7, "base")
    assert matched.tensors == {EMBEDDING, HEAD, BIAS}
    assert {name: origin.tolist() for name, origin in matched.origins.items()} == {
        "base": [0, 1, 2, 3, -1, -1, -1],
        "a": [0, 1, 2, 3, 4, 5, -1],
        "b": [0, 1, 2, 3, 5, -1, 4],
    }
    assert first_column(matched, chat, "base") == {
        "base": [100, 101, 102, 103, 254.5, 205, 304],
        "a": [200, 201, 202, 203, 204, 205, 304],
        "b": [300, 301, 302, 303, 305, 205, 304],
    }
    assert matched.notes == (
        "the output has the tokenizer of base; tokens added to it: 3",
        "vocabulary rows of base: 5, of the output: 7",
        "vocabulary rows of a: 6, of the output: 7",
        "tokens of a not in base, added: 2 ('<|start|>', '<|end|>')",
        "vocabulary rows of b: 8, of the output: 7",
        "tokens of b not in base, added: 2 ('<tool>', '<|start|>')",
        "tokens of b whose rows are moved: 2",
    )
    output = write(tmp_path / "out", matched, chat["base"])
    assert output("a <|start|> c <|end|><tool>")["input_ids"] == [1, 4, 3, 5, 6]
    assert len(output) == matched.size
    assert output.added_tokens_decoder[5].lstrip
    assert output.added_tokens_decoder[4].special
    assert output.decode([1, 4, 3], skip_special_tokens=True) == "a c"


def test_base(tmp_path: Path, chat: dict[str, Checkpoint]) -> None:
    matched = match_vocabularies(chat, "base", "base")
    assert matched is not None
    assert (matched.size, matched.source, matched.files) == (5, "base", {})
    assert first_column(matched, chat, "base") == {
        "base": [100, 101, 102, 103, 104],
        "a": [200, 201, 202, 203, 104],
        "b": [300, 301, 302, 303, 104],
    }
    assert "tokens of a not in base, left out: 2 ('<|start|>', '<|end|>')" in matched.notes
    output = write(tmp_path / "out", matched, chat["base"])
    assert output("a <|start|>")["input_ids"] == [1, 0]


def test_one_model(tmp_path: Path, chat: dict[str, Checkpoint]) -> None:
    matched = match_vocabularies(chat, "base", "b")
    assert matched is not None
    assert (matched.size, matched.source, matched.files) == (8, "b", {})
    assert first_column(matched, chat, "base") == {
        "base": [100, 101, 102, 103, 304, 254.5, 306, 307],
        "a": [200, 201, 202, 203, 304, 204, 306, 307],
        "b": [300, 301, 302, 303, 304, 305, 306, 307],
    }
    assert "tokens of b that a lacks: 1" in matched.notes
    output = write(tmp_path / "out", matched, chat["b"])
    assert output("<|start|> a")["input_ids"] == [5, 1]


def test_without_a_base(chat: dict[str, Checkpoint]) -> None:
    """The first model's ids, and the mean of those that have a token."""
    del chat["base"]
    chat["c"] = chat["a"]
    matched = match_vocabularies({"b": chat["b"], "a": chat["a"], "c": chat["c"]}, None, "union")
    assert matched is not None
    assert matched.source == "b"
    columns = first_column(matched, chat, None)
    assert columns["b"][6] == 205
    assert columns["a"] == [200, 201, 202, 203, 304, 204, 205, 307]


def test_the_same_tokens_at_other_rows(tmp_path: Path) -> None:
    """As many rows each, so that nothing would be refused; the wrong rows would be merged."""
    order = ("<unk>", "c", "a", "b")
    models_ = {
        "a": save(tmp_path / "a", word_level(BASIC), 4, seed=1),
        "b": save(tmp_path / "b", word_level(order), 4, seed=2),
    }
    matched = match_vocabularies(models_, None, "base")
    assert matched is not None
    assert first_column(matched, models_, None)["b"] == [200, 202, 203, 201]
    assert matched.notes[1:] == ("tokens of b whose rows are moved: 3",)


@pytest.mark.parametrize("choice", ["base", "union", "b"])
def test_vocabularies_that_agree(tmp_path: Path, choice: str) -> None:
    same = {
        "a": save(tmp_path / "a", word_level(BASIC), 6),
        "b": save(tmp_path / "b", word_level(BASIC), 6),
    }
    assert match_vocabularies(same, None, choice) is None


def test_files_that_differ_and_agree(tmp_path: Path) -> None:
    """Other settings, an id order of its own in the file, a token beyond the rows."""
    other = word_level(BASIC)
    other.enable_truncation(9)
    beyond = word_level(BASIC, ["<pad>"])
    same = {
        "a": save(tmp_path / "a", word_level(BASIC), 4),
        "b": save(tmp_path / "b", other, 4),
        "c": save(tmp_path / "c", beyond, 4),
    }
    assert match_vocabularies(same, "a", "union") is None
    assert match_vocabularies(same, "a", "c") is None


def test_only_the_padding_differs(tmp_path: Path) -> None:
    models_ = {
        "base": save(tmp_path / "base", word_level(BASIC), 4, seed=1),
        "a": save(tmp_path / "a", word_level(BASIC), 6, seed=2),
    }
    for choice in ("base", "union"):
        matched = match_vocabularies(models_, "base", choice)
        assert matched is not None
        assert (matched.size, matched.files) == (4, {})
        assert first_column(matched, models_, "base")["a"] == [200, 201, 202, 203]
    matched = match_vocabularies(models_, "base", "a")
    assert matched is not None
    assert matched.size == 6
    assert first_column(matched, models_, "base")["base"] == [100, 101, 102, 103, 204, 205]


def test_a_token_beyond_the_rows_is_missing(tmp_path: Path) -> None:
    models_ = {
        "base": save(tmp_path / "base", word_level(BASIC, ["<x>"]), 4, seed=1),
        "a": save(tmp_path / "a", word_level(BASIC, ["<y>", "<x>"]), 6, seed=2),
    }
    matched = match_vocabularies(models_, "base", "base")
    assert matched is not None
    assert matched.size == 5
    assert first_column(matched, models_, "base")["base"] == [100, 101, 102, 103, 205]


def test_a_row_that_no_model_has_is_zero(tmp_path: Path) -> None:
    """base knows <x> but has no row for it; what a union adds follows after it."""
    models_ = {
        "base": save(tmp_path / "base", word_level(BASIC, ["<x>"]), 4, seed=1),
        "a": save(tmp_path / "a", word_level(BASIC, ["<y>"]), 5, seed=2),
    }
    matched = match_vocabularies(models_, "base", "union")
    assert matched is not None
    assert first_column(matched, models_, "base") == {
        "base": [100, 101, 102, 103, 0, 204],
        "a": [200, 201, 202, 203, 0, 204],
    }
    assert matched.notes[-1] == "vocabulary rows that no model has, and are zero: 1"
    assert write(tmp_path / "out", matched, models_["base"])("<y> <x>")["input_ids"] == [5, 4]


def test_added_tokens_follow_the_highest_id(tmp_path: Path) -> None:
    """Ids may have gaps: a count of tokens would be the id of another one."""
    gapped = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2, "c": 4}, unk_token="<unk>"))
    models_ = {
        "base": save(tmp_path / "base", gapped, 5, seed=1),
        "a": save(tmp_path / "a", word_level(BASIC, ["<x>", "<y>"]), 6, seed=2),
    }
    matched = match_vocabularies(models_, "base", "union")
    assert matched is not None
    assert first_column(matched, models_, "base") == {
        "base": [100, 101, 102, 103, 104, 204, 205],
        "a": [200, 201, 202, 103, 203, 204, 205],
    }


def test_ordinary_tokens_of_bpe(tmp_path: Path) -> None:
    letters = ("<unk>", "a", "b", "ab")
    more = (*letters, "ba", "bab")
    models_ = {
        "base": save(tmp_path / "base", bpe(letters, [("a", "b")], ["<x>"]), 5, seed=1),
        "a": save(tmp_path / "a", bpe(more, [("b", "a"), ("ba", "b")], ["<y>"]), 7, seed=2),
    }
    match = match_vocabularies(models_, "base", "union")
    assert match is not None
    assert first_column(match, models_, "base")["base"] == [100, 101, 102, 103, 104, 204, 205, 206]
    output = write(tmp_path / "out", match, models_["base"])
    assert output("ab ba <x> <y>")["input_ids"] == [3, 5, 4, 7]


def test_unigrams(tmp_path: Path) -> None:
    models_ = {
        "base": save(tmp_path / "base", unigram(BASIC), 4, seed=1),
        "a": save(tmp_path / "a", unigram(BASIC, ["<x>"]), 5, seed=2),
    }
    matched = match_vocabularies(models_, "base", "union")
    assert matched is not None
    assert write(tmp_path / "out", matched, models_["base"])("a <x>")["input_ids"] == [1, 4]
    models_["b"] = save(tmp_path / "b", unigram((*BASIC, "d")), 5, seed=3)
    with pytest.raises(AlignmentError) as caught:
        match_vocabularies(models_, "base", "union")
    assert str(caught.value) == (
        "base lacks ordinary tokens of b (1), and Unigram tokenizers cannot be joined"
    )
    assert match_vocabularies(models_, "base", "base") is not None


def test_an_adapter_has_the_rows_of_its_base(tmp_path: Path) -> None:
    base = nano.model(tmp_path / "base", tokenizer=False)
    model = nano.save(
        tmp_path / "a", nano.weights(1, vocabulary=nano.VOCABULARY + 1), tokenizer=False
    )
    tokens = [f"t{i}" for i in range(nano.VOCABULARY)]
    word_level(tokens).save(str(base / "tokenizer.json"))
    word_level(tokens, ["<x>"]).save(str(model / "tokenizer.json"))
    lora = nano.lora(tmp_path / "lora", base="base")
    checkpoints = {n: resolve(str(f)) for n, f in (("base", base), ("a", model), ("lora", lora))}
    matched = match_vocabularies(checkpoints, "base", "union")
    assert matched is not None
    assert torch.equal(matched.origins["lora"], matched.origins["base"])
    rows = merge_rows(matched, checkpoints, "base", EMBEDDING)
    assert torch.equal(rows["lora"], rows["base"])
    assert torch.equal(rows["base"][-1], nano.load(model)[EMBEDDING][-1])
    assert (
        match_vocabularies({n: checkpoints[n] for n in ("base", "lora")}, "base", "union") is None
    )


def test_tokens_that_adapters_added_where_the_base_has_padding(tmp_path: Path) -> None:
    """Two adapters, each with a token of its own in the same row of padding."""
    base = nano.model(tmp_path / "base", tokenizer=False)
    tokens = [f"t{i}" for i in range(nano.VOCABULARY - 2)]
    word_level(tokens).save(str(base / "tokenizer.json"))
    row = len(tokens)
    checkpoints = {"base": resolve(str(base))}
    for name in "ab":
        at = "base_model.model.model.layers.0.self_attn.q_proj.lora"
        tensors = {
            f"{at}_A.weight": torch.ones(2, nano.WIDTH),
            f"{at}_B.weight": torch.ones(nano.WIDTH, 2),
            f"base_model.model.{EMBEDDING}": torch.full((nano.VOCABULARY, nano.WIDTH), ord(name)),
        }
        tensors = {key: tensor.float() for key, tensor in tensors.items()}
        lora = nano.lora(tmp_path / name, tensors, base="base")
        word_level(tokens, [f"<{name}>"]).save(str(lora / "tokenizer.json"))
        checkpoints[name] = resolve(str(lora))
    matched = match_vocabularies(checkpoints, "base", "union")
    assert matched is not None
    assert matched.origins["a"][row:].tolist() == [row, -1]
    assert matched.origins["b"][row:].tolist() == [-1, row]
    rows = merge_rows(matched, checkpoints, "base", EMBEDDING)
    for place, donor in enumerate("ab"):
        assert all(bool((rows[n][row + place] == ord(donor)).all()) for n in checkpoints)
    kept = match_vocabularies(checkpoints, "base", "base")
    assert kept is not None
    assert "tokens of a not in base, left out: 1 ('<a>')" in kept.notes
    for alone in ({"base", "a"}, {"base", "b"}):  # no row is another token in any: it is kept
        some = {name: each for name, each in checkpoints.items() if name in alone}
        assert match_vocabularies(some, "base", "base") is None
        assert match_vocabularies(some, "base", "union") is not None


def test_an_adapter_whose_tokenizer_is_named(tmp_path: Path) -> None:
    base = nano.model(tmp_path / "base", tokenizer=False)
    lora = nano.lora(tmp_path / "lora", base="base")
    tokens = [f"t{i}" for i in range(nano.VOCABULARY)]
    word_level(tokens).save(str(base / "tokenizer.json"))
    renamed = [*tokens[:-1], "<x>"]
    word_level(renamed).save(str(lora / "tokenizer.json"))
    checkpoints = {n: resolve(str(f)) for n, f in (("base", base), ("lora", lora))}
    kept = match_vocabularies(checkpoints, "base", "base")
    assert kept is not None
    assert kept.origins["lora"].tolist() == [*range(nano.VOCABULARY - 1), -1]
    matched = match_vocabularies(checkpoints, "base", "lora")
    assert matched is not None
    assert (matched.source, matched.size) == ("lora", nano.VOCABULARY)
    assert matched.origins["lora"].tolist() == list(range(nano.VOCABULARY))
    assert matched.origins["base"].tolist() == [*range(nano.VOCABULARY - 1), -1]


def test_the_alignment_takes_the_new_size(chat: dict[str, Checkpoint]) -> None:
    union = match_vocabularies(chat, "base", "union")
    matched = align([chat["a"], chat["b"]], chat["base"], vocabulary=union)
    assert matched.rejected == ()
    assert matched.shapes[EMBEDDING] == matched.shapes[HEAD] == (7, 2)
    assert matched.shapes[BIAS] == (7,)
    assert matched.shapes["model.norm.weight"] == (2,)


def test_a_model_without_a_tokenizer(tmp_path: Path, chat: dict[str, Checkpoint]) -> None:
    chat["plain"] = save(tmp_path / "plain", None, 5, seed=4)
    matched = match_vocabularies(chat, "base", "union")
    assert matched is not None
    assert matched.notes[0] == "plain has no tokenizer: its rows are taken to be those of base"
    assert torch.equal(matched.origins["plain"], matched.origins["base"])


def test_a_base_without_a_tokenizer(tmp_path: Path, chat: dict[str, Checkpoint]) -> None:
    chat = {"base": save(tmp_path / "plain", None, 6, seed=1), "a": chat["a"], "b": chat["b"]}
    matched = match_vocabularies(chat, "base", "base")
    assert matched is not None
    assert matched.source == "a"
    assert matched.origins["base"].tolist() == [0, 1, 2, 3, 4, 5]


def test_no_tokenizers(tmp_path: Path) -> None:
    same = {name: save(tmp_path / name, None, 4) for name in "ab"}
    assert match_vocabularies(same, None, "base") is None
    for name in same:
        (tmp_path / name / "tokenizer.model").write_text("pieces")
    slow = {name: resolve(str(tmp_path / name)) for name in same}
    assert match_vocabularies(slow, None, "base") is None
    slow["c"] = save(tmp_path / "c", None, 6)
    with pytest.raises(AlignmentError) as caught:
        match_vocabularies(slow, None, "base")
    assert str(caught.value) == (
        "the vocabularies differ, and a has no tokenizer.json to tell how "
        "(a: 4 rows, tokenizer.model; b: 4 rows, tokenizer.model; c: 6 rows, no tokenizer)"
    )
    assert caught.value.hint == (
        "load its tokenizer with transformers and save_pretrained() it: that writes tokenizer.json"
    )


def test_a_slow_tokenizer_beside_a_readable_one(
    tmp_path: Path, chat: dict[str, Checkpoint]
) -> None:
    save(tmp_path / "slow", None, 5)
    (tmp_path / "slow" / "vocab.txt").write_text("")
    chat["slow"] = resolve(str(tmp_path / "slow"))
    with pytest.raises(AlignmentError, match=r"slow has no tokenizer\.json .*slow: 5 rows, vocab"):
        match_vocabularies(chat, "base", "base")


def test_a_list_with_counts_beside_a_readable_tokenizer(tmp_path: Path) -> None:
    """As PhoBERT's: a line is a token and its count, and four special tokens are not in it."""
    save(tmp_path / "a", word_level(["<s>", "<pad>", "</s>", "<unk>", "cat", "dog"]), 6)
    for name, words in (("b", "cat 12\ndog 7\n"), ("c", "dog 12\ncat 7\n")):
        save(tmp_path / name, None, 6)
        (tmp_path / name / "vocab.txt").write_text(words)
    models = {name: resolve(str(tmp_path / name)) for name in "abc"}
    assert match_vocabularies({n: models[n] for n in "ab"}, None, "base") is None
    with pytest.raises(AlignmentError, match=r"\(row 4 is 'cat' in a, 'dog' in c\)"):
        match_vocabularies({n: models[n] for n in "ac"}, None, "base")


@pytest.mark.parametrize(
    ("files", "seen"),
    [
        ({"vocab.txt": ("[PAD]\na\nb\n", "[PAD]\nb\na\n")}, "row 1 is 'a' in a, 'b' in b"),
        ({"vocab.json": ('{"a": 0, "b": 1}', '{"a": 1, "b": 0}')}, "row 0 is 'a' in a, 'b' in b"),
        (
            {"tokenizer.model": ("x", "x"), "added_tokens.json": ('{"<p>": 3}', '{"<e>": 3}')},
            "row 3 is '<p>' in a, '<e>' in b",
        ),
        ({"tokenizer.model": ("x", "y")}, "tokenizer.model of a and b are not the same"),
        (
            {"tokenizer.json": ("", None), "vocab.txt": (None, "a\n")},
            "row 0 is '<unk>' in a, 'a' in b",
        ),
    ],
    ids=["list", "table", "added", "pieces", "readable beside a list"],
)
def test_rows_of_other_tokens_where_no_tokenizer_is_readable(
    files: dict[str, tuple[str | None, str | None]], seen: str, tmp_path: Path
) -> None:
    """As many rows in both: nothing but these files says that they are not the same tokens."""
    for place, name in enumerate("ab"):
        readable = files.get("tokenizer.json", (None, None))[place] is not None
        save(tmp_path / name, word_level(BASIC) if readable else None, 4)
        for file, texts in files.items():
            if (text := texts[place]) and file != "tokenizer.json":
                (tmp_path / name / file).write_text(text)
    with pytest.raises(AlignmentError) as caught:
        match_vocabularies({n: resolve(str(tmp_path / n)) for n in "ab"}, None, "base")
    lacking = "b" if "tokenizer.json" in files else "a"
    assert str(caught.value) == (
        f"the vocabularies differ, and {lacking} has no tokenizer.json to tell how ({seen})"
    )


def test_rows_of_the_same_tokens_where_no_tokenizer_is_readable(tmp_path: Path) -> None:
    save(tmp_path / "a", word_level(BASIC), 4)
    for name in "bc":
        save(tmp_path / name, None, 4)
        (tmp_path / name / "vocab.txt").write_text("\n".join(BASIC))
        (tmp_path / name / "added_tokens.json").write_text('{"<pad>": 9}')
    models_ = {n: resolve(str(tmp_path / n)) for n in "abc"}
    assert match_vocabularies(models_, None, "base") is None


def test_rows_that_the_config_does_not_state(tmp_path: Path) -> None:
    models_ = {
        "a": save(tmp_path / "a", word_level(BASIC), 4, config={"vocab_size": 9}),
        "b": save(tmp_path / "b", word_level((*BASIC, "d")), 5),
    }
    hint = "correct vocab_size in its config.json, or merge models with one vocabulary"
    with pytest.raises(AlignmentError) as caught:
        match_vocabularies(models_, None, "base")
    assert str(caught.value) == (
        "the vocabularies differ, and no tensor of a has as many rows as its config's vocab_size, "
        "which is 9"
    )
    assert caught.value.hint == hint
    models_["a"] = save(tmp_path / "a", word_level(BASIC), 4, config={"model_type": "x"})
    with pytest.raises(AlignmentError, match="vocab_size, which it does not state"):
        match_vocabularies(models_, None, "base")


def test_a_tokenizer_that_is_not_there(chat: dict[str, Checkpoint]) -> None:
    with pytest.raises(RecipeError) as caught:
        match_vocabularies(chat, "base", "z")
    assert str(caught.value) == "the tokenizer is to be that of 'z', which is not merged"
    assert caught.value.hint == "write base, union or one of: base, a, b"


def test_a_hostile_id(tmp_path: Path, chat: dict[str, Checkpoint]) -> None:
    text = json.loads((tmp_path / "a" / "tokenizer.json").read_text())
    text["model"]["vocab"]["a"] = 2**40
    (tmp_path / "a" / "tokenizer.json").write_text(json.dumps(text))
    chat["a"] = resolve(str(tmp_path / "a"))
    with pytest.raises(
        CheckpointError, match=rf"gives the id {2**40} to 'a', far beyond .*tokens: 6, rows: 6"
    ):
        match_vocabularies(chat, "base", "base")


WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True)


@given(
    st.lists(st.tuples(WORDS, WORDS, st.integers(-1, 3)), min_size=2, max_size=3),
    st.sampled_from(["base", "union", "m1"]),
    st.booleans(),
)
def test_against_a_look_up_by_token(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[list[str], list[str], int]],
    choice: str,
    based: bool,
) -> None:
    folder = tmp_path_factory.mktemp("v")
    checkpoints, held = {}, {}
    for place, (tokens, added, padding) in enumerate(drawn):
        made = word_level(["<unk>", *tokens], [AddedToken(f"<{t}>") for t in added])
        rows = max(1, made.get_vocab_size() + padding)
        name = f"m{place}"
        checkpoints[name] = save(folder / name, made, rows, seed=place + 1)
        held[name] = {t: i for t, i in made.get_vocab().items() if i < rows}
    base = "m0" if based else None
    matched = match_vocabularies(checkpoints, base, choice)
    heights = {c.tensors[EMBEDDING].shape[0] for c in checkpoints.values()}
    agree = len(heights) == 1 and all(mine == held["m0"] for mine in held.values())
    assert (matched is None) == agree
    if matched is None:
        return
    output = write(folder / "out", matched, checkpoints[matched.source]).get_vocab()
    before = json.loads((folder / matched.source / "tokenizer.json").read_text())
    assert before["model"]["vocab"].items() <= output.items(), "ids of the source never change"
    if choice == "union":
        assert all(mine.keys() <= output.keys() for mine in held.values())
    columns = first_column(matched, checkpoints, base)
    rows = checkpoints[matched.source].tensors[EMBEDDING].shape[0]
    for token, number in output.items():
        having = {m: 100.0 * (int(m[1]) + 1) + mine[token] for m, mine in held.items()
                  if token in mine}  # fmt: skip
        if not having:
            assert number >= matched.size or all(c[number] == 0 for c in columns.values())
            continue
        instead = having.get(base or "", sum(having.values()) / len(having))
        for model, column in columns.items():
            assert column[number] == pytest.approx(having.get(model, instead))
    for number in set(range(min(rows, matched.size))) - set(output.values()):
        own = 100.0 * (int(matched.source[1]) + 1) + number
        assert all(column[number] == own for column in columns.values())
