"""A tokenizer with more tokens: files of which no id changes when they are loaded."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from simmerge_hub.errors import AlignmentError, CheckpointError
from simmerge_hub.weights.tokens.tokenizers import TOKENIZER, TOKENIZER_CONFIG, Tokens


def extend_tokenizer(
    source: Tokens, new: Mapping[str, int], donors: Sequence[Tokens]
) -> dict[str, str]:
    """The files of a tokenizer with more tokens.

    Args:
        source: the tokenizer to extend; nothing of it changes.
        new: tokens that it lacks -> their ids, which are higher than all of its own.
        donors: tokenizers that have them; the first that has one says what it is.

    Returns:
        File name -> content: tokenizer.json, and tokenizer_config.json where it lists added tokens.

    Raises:
        AlignmentError: an ordinary token would have to go into a Unigram model or one of another
            kind, whose scores or rules cannot be joined.
    """
    added = _new_added(new, donors)
    ordinary = {token: number for token, number in new.items() if token not in added}
    _refuse_unjoinable(source, ordinary, donors)
    entries = [*source.added.values(), *added.values()]
    model = dict(source.data["model"])
    if ordinary or (source.kind != "Unigram" and not _is_next(source, min(new.values()))):
        # With their ids in the model's vocabulary, nothing is renumbered when the file is loaded.
        every = {entry["content"]: entry["id"] for entry in entries}
        model["vocab"] = {**model["vocab"], **ordinary, **every}
    if ordinary and source.kind == "BPE":
        model["merges"] = [
            *_read_merges(source),
            *_new_merges(source, ordinary, model["vocab"], donors),
        ]
    files = {TOKENIZER: _dump_json({**source.data, "added_tokens": entries, "model": model})}
    decoder = source.config.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        more = {str(e["id"]): {k: v for k, v in e.items() if k != "id"} for e in added.values()}
        files[TOKENIZER_CONFIG] = _dump_json(
            {**source.config, "added_tokens_decoder": {**decoder, **more}}
        )
    return files


def _new_added(new: Mapping[str, int], donors: Sequence[Tokens]) -> dict[str, dict[str, Any]]:
    """The new tokens that are added ones in the first model that has them, with new ids."""
    added: dict[str, dict[str, Any]] = {}
    for token, number in new.items():
        entry = next(donor for donor in donors if token in donor.ids).added.get(token)
        if entry is not None:
            added[token] = {**entry, "id": number}
    return added


def _refuse_unjoinable(
    source: Tokens, ordinary: Mapping[str, int], donors: Sequence[Tokens]
) -> None:
    for donor in donors:
        count = sum(token in donor.ids for token in ordinary)
        if count and (donor.kind != source.kind or source.kind == "Unigram"):
            kinds = " and ".join(dict.fromkeys((donor.kind, source.kind)))
            raise AlignmentError(
                f"{source.model} lacks ordinary tokens of {donor.model} ({count}), and {kinds} "
                "tokenizers cannot be joined",
                hint="write `tokenizer: base`, or the name of one model",
            )


def _is_next(tokens: Tokens, number: int) -> bool:
    """Whether a token that is added to the file as it is would be loaded with this id."""
    vocab = tokens.data["model"]["vocab"]
    besides = (entry["id"] for token, entry in tokens.added.items() if token not in vocab)
    return number == max(len(vocab), max(besides, default=-1) + 1)


def _read_merges(tokens: Tokens) -> list[Any]:
    """A BPE model's merges as they are written: "a b" or ["a", "b"], all of them alike."""
    merges = tokens.data["model"].get("merges") or []
    texts = isinstance(merges, list) and all(isinstance(merge, str) for merge in merges)
    if not texts and not (isinstance(merges, list) and all(_is_pair(merge) for merge in merges)):
        raise CheckpointError(
            f"{TOKENIZER} of {tokens.model} has merges that are no pairs of tokens",
            hint="load its tokenizer with transformers and save_pretrained() it again",
        )
    return merges


def _is_pair(merge: Any) -> bool:
    return isinstance(merge, list) and len(merge) == 2 and all(isinstance(m, str) for m in merge)


def _new_merges(
    source: Tokens,
    ordinary: Mapping[str, int],
    vocab: Mapping[str, int],
    donors: Sequence[Tokens],
) -> list[Any]:
    """The donors' merges that make the new tokens; after all others, so that those come first."""
    written = _read_merges(source)
    texts = bool(written) and isinstance(written[0], str)
    prefix = source.data["model"].get("continuing_subword_prefix")
    start = len(prefix) if isinstance(prefix, str) else 0
    merges: dict[tuple[str, str], None] = {}
    for donor in donors:
        for merge in _read_merges(donor):
            pair = tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge)
            if len(pair) != 2 or pair[0] + pair[1][start:] not in ordinary:
                continue
            if all(part in vocab and not (texts and " " in part) for part in pair):
                merges[pair] = None
    return [" ".join(pair) if texts else list(pair) for pair in merges]


def _dump_json(data: Mapping[str, Any]) -> str:
    """ASCII: a text with half a surrogate pair can be written nowhere else."""
    return json.dumps(data, indent=2) + "\n"
