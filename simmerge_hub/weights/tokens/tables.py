"""Vocabularies that are not in tokenizer.json: what their files say that an id means.

Older models have vocab.txt, vocab.json or a SentencePiece model, and added_tokens.json. That is
not enough to move rows by, and enough to see that two models mean other tokens by the same row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.digest import file_sha256
from simmerge_hub.hub.files.cached import read_stated_object, read_text
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.tokens.tokenizers import (
    TOKENIZER,
    TOKENIZER_CONFIG,
    read_tokens,
    vocabulary_files,
)

if TYPE_CHECKING:
    from torch import Tensor

LIST, ADDED = "vocab.txt", "added_tokens.json"
COUNTED = re.compile(r"(.+) \d+\s*")
"""A line of a list as fairseq writes it; no token of a WordPiece list has a blank in it."""
FIRST_COUNTED = 4
"""The id of its first token: <s>, <pad>, </s> and <unk> are not in it."""


def refuse_other_tokens(models: Sequence[Checkpoint], rows: int | None) -> None:
    """Refuse models whose rows are other tokens, where no tokenizer.json says how to match them.

    Args:
        models: whose vocabularies have as many rows.
        rows: how many that is; None if it is not known.

    Raises:
        AlignmentError: two models have another token at an id, or other SentencePiece models.
        CheckpointError: a tokenizer.json that cannot be read.
    """
    named = {model.ref: model for model in models if vocabulary_files(model)}
    if all(TOKENIZER in model.files for model in named.values()):
        return
    tables = {ref: _read_table(model, rows) for ref, model in named.items()}
    for one, other in combinations(named.values(), 2):
        lacking = [model for model in (one, other) if TOKENIZER not in model.files]
        seen = _difference(one, other, tables[one.ref], tables[other.ref])
        if lacking and seen:
            raise AlignmentError(
                f"the vocabularies differ, and {lacking[0].name} has no {TOKENIZER} to tell how "
                f"({seen})",
                hint="load its tokenizer with transformers and save_pretrained() it: that writes "
                f"{TOKENIZER}",
            )


def refuse_moved_rows(name: str, tables: Mapping[str, int], origins: Tensor) -> None:
    """Refuse a further table of embeddings whose rows would have to move with their tokens.

    Args:
        name: what to call the model.
        tables: its tensors that have a row for each of the first tokens -> how many rows.
        origins: int64 [size], the model's row for each of the output's; -1 where it has none.

    Raises:
        AlignmentError: a row is that of another token in the output.
    """
    for tensor, rows in tables.items():
        kept = origins[:rows].tolist()
        token = next((n for n, row in enumerate(kept) if row not in (n, -1)), None)
        if token is not None:
            raise AlignmentError(
                f"the vocabularies differ, and {tensor} of {name} has rows for its first {rows} "
                f"tokens only: row {kept[token]} would have to become row {token}",
                hint="merge models with one vocabulary, or take the tokenizer whose tokens stay "
                "where they are in all: `tokenizer: NAME`",
            )


def _difference(
    one: Checkpoint, other: Checkpoint, table: Mapping[int, str], second: Mapping[int, str]
) -> str:
    """How two models differ in what rows mean; "" where nothing says that they do."""
    for row in sorted(table.keys() & second.keys()):
        if table[row] != second[row]:
            return (
                f"row {row} is {table[row][:40]!r} in {one.name}, {second[row][:40]!r} in "
                f"{other.name}"
            )
    both = [name for name in vocabulary_files(one) if name in vocabulary_files(other)]
    apart = [
        n for n in both if n.endswith(".model") and file_sha256(one, n) != file_sha256(other, n)
    ]
    return f"{apart[0]} of {one.name} and {other.name} are not the same" if apart else ""


def _read_table(model: Checkpoint, rows: int | None) -> dict[int, str]:
    """Id -> token, as far as files say it."""
    if TOKENIZER in model.files:
        pairs = iter(read_tokens(model, rows).ids.items())
    else:
        pairs = _read_pairs(model)
    return {number: token for token, number in pairs if rows is None or number < rows}


def _read_pairs(model: Checkpoint) -> Iterator[tuple[str, int]]:
    where = (model.location, model.files)
    lines = read_text(*where, LIST).replace("\r\n", "\n").split("\n")
    if counted := _read_counted(lines):
        yield from counted
    else:
        yield from ((token, number) for number, token in enumerate(lines) if token)
    for name in ("vocab.json", ADDED):
        yield from ((t, n) for t, n in read_stated_object(*where, name).items() if type(n) is int)
    decoder = read_stated_object(*where, TOKENIZER_CONFIG).get("added_tokens_decoder")
    for number, entry in decoder.items() if isinstance(decoder, dict) else ():
        token = entry.get("content") if isinstance(entry, dict) else None
        if isinstance(token, str) and number.isdecimal():
            yield token, int(number)


def _read_counted(lines: Sequence[str]) -> list[tuple[str, int]]:
    """Tokens with their ids of a list as PhoBERT's, where each has its count beside it."""
    words = [COUNTED.fullmatch(line) for line in lines if line]
    if not all(words):
        return []
    return [(word[1], number) for number, word in enumerate(words, FIRST_COUNTED) if word]
