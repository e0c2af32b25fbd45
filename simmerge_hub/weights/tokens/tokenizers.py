"""A tokenizer as tokenizer.json holds it: its tokens and their ids, read and checked.

The file is data from others: it is read as JSON and no tokenizer is run. Ids are those that the
tokenizers library gives when it loads the file. The library ignores what the file says of the ids
of added tokens (0.23.3): one that is in the model's vocabulary has its id there, others get the
next free ones in the order of the file. A file that says otherwise contradicts itself: refused.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from simmerge_hub.documents import read_json
from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.digest import file_sha256
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.resolve import Checkpoint

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
ADDED_TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
"""What an added token says besides its text and its id; false where it says nothing."""
VOCABULARY_FILES = re.compile(r"tokenizer\.[^/]*|vocab\.[^/]*|[^/]*\.model|merges\.txt")
"""Files that hold a vocabulary, in whichever format."""
MODEL_TYPES = ("BPE", "WordPiece", "WordLevel")
"""Types of models whose vocabulary is a table of ids; a Unigram's is a list with scores."""

PIPELINE = ("normalizer", "pre_tokenizer", "post_processor")
"""What tokenizer.json says of a text before it is looked up, and of tokens put around it."""
ID_SLACK = 2**16
"""How far ids may lie beyond what there are tokens and rows for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One model's tokenizer: token -> id, those that were added with their flags, and its kind.

    `data` is the content of tokenizer.json, `config` that of tokenizer_config.json ({} if none).
    """

    model: str
    ids: Mapping[str, int]
    added: Mapping[str, Mapping[str, Any]]
    kind: str
    data: Mapping[str, Any]
    config: Mapping[str, Any]


def read_tokens(checkpoint: Checkpoint, rows: int | None) -> Tokens:
    """The tokens of a model that has a tokenizer.json.

    Args:
        checkpoint: the model.
        rows: how many vocabulary rows it has; None if that is not known.

    Raises:
        CheckpointError: the file cannot be read, or its ids cannot be meant.
    """
    data, config = _read_json(checkpoint, TOKENIZER), _read_json(checkpoint, TOKENIZER_CONFIG)
    try:
        kind, ids = _read_vocabulary(data)
        added = _number_added(data, config, ids, len(data["model"]["vocab"]))
        _check_ids(ids, rows)
    except _Malformed as wrong:
        raise _damage_error(checkpoint, str(wrong)) from None
    name = checkpoint.name
    return Tokens(model=name, ids=ids, added=added, kind=kind, data=data, config=config)


def vocabulary_files(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The files of a checkpoint that hold its tokens, readable here or not."""
    return tuple(name for name in checkpoint.tokenizer_files if VOCABULARY_FILES.fullmatch(name))


def ids_with_rows(tokens: Tokens, rows: int | None) -> Mapping[str, int]:
    """The tokens that have a row in a vocabulary of `rows` rows, with their ids."""
    if rows is None:
        return tokens.ids
    return {token: number for token, number in tokens.ids.items() if number < rows}


def pipeline_notes(models: Iterable[Checkpoint], chosen: Checkpoint) -> list[str]:
    """Sentences about models whose tokenizer.json makes other tokens of the same text.

    Args:
        models: what is merged; those without a tokenizer.json are passed over.
        chosen: whose tokenizer the output has.
    """
    if TOKENIZER not in chosen.files:
        return []
    own, notes = file_sha256(chosen, TOKENIZER), []
    others = {model.ref: model for model in models if TOKENIZER in model.files}
    for model in others.values():
        if file_sha256(model, TOKENIZER) == own:
            continue
        wanted, said = (_pipeline(_read_json(each, TOKENIZER)) for each in (chosen, model))
        if apart := [part for part in wanted if wanted[part] != said[part]]:
            notes.append(
                f"the tokenizer of {model.name} treats text otherwise than that of {chosen.name}, "
                f"which the output has: {', '.join(apart)}"
            )
    return notes


def _pipeline(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a tokenizer does before, between and after its table of tokens."""
    model = data.get("model")
    merges = model.get("merges") if isinstance(model, dict) else None
    pairs = merges if isinstance(merges, list) else []
    texts = [" ".join(map(str, pair)) if isinstance(pair, list) else pair for pair in pairs]
    return {**{part: data.get(part) for part in PIPELINE}, "merges": texts}


class _Malformed(Exception):
    """What is wrong with a file, without its name."""


def _read_json(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    """A JSON object that a checkpoint holds; {} if there is no such file."""
    if name not in checkpoint.files:
        return {}
    try:
        content = read_json(local_file(checkpoint.location, name).read_bytes())
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _damage_error(checkpoint, "is no JSON object", name)
    return content


def _damage_error(checkpoint: Checkpoint, seen: str, name: str = TOKENIZER) -> CheckpointError:
    return CheckpointError(
        f"{name} of {checkpoint.name} {seen}",
        hint="load its tokenizer with transformers and save_pretrained() it again, or fetch the "
        "model again",
    )


def _read_vocabulary(data: Mapping[str, Any]) -> tuple[str, dict[str, int]]:
    """The kind of a tokenizer's model, and its tokens without the added ones."""
    model = data.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(vocab, dict | list):
        raise _Malformed("has no vocabulary")
    if isinstance(vocab, list):
        if not all(_is_piece(piece) for piece in vocab):
            raise _Malformed("has a vocabulary that is no list of [piece, score]")
        return "Unigram", {piece: number for number, (piece, _) in enumerate(vocab)}
    for token, number in vocab.items():
        _check_id(token, number)
    kind = model.get("type", "BPE" if "merges" in model else "WordLevel")
    if not isinstance(kind, str) or kind not in MODEL_TYPES:
        raise _Malformed(f"has a model of an unknown type, {str(kind)[:40]!r}")
    return kind, dict(vocab)


def _is_piece(piece: Any) -> bool:
    return (
        isinstance(piece, list)
        and len(piece) == 2
        and isinstance(piece[0], str)
        and isinstance(piece[1], int | float)
    )


def _check_id(token: str, number: Any) -> None:
    if type(number) is not int or number < 0:  # a bool is an int, and is no id
        raise _Malformed(f"has an id that is none: {str(number)[:40]} for {token[:40]!r}")


def _number_added(
    data: Mapping[str, Any], config: Mapping[str, Any], ids: dict[str, int], size: int
) -> dict[str, dict[str, Any]]:
    """Put the added tokens into `ids`, and give them back with their flags, in their order."""
    added: dict[str, dict[str, Any]] = {}
    following = size
    for entry in _added_entries(data, config, ids):
        token, number = entry["content"], entry["id"]
        if token in added:
            continue
        loaded = ids.get(token, following)
        if number != loaded:
            raise _Malformed(f"says that {token[:40]!r} is {number}, which is loaded as {loaded}")
        if token not in ids:
            ids[token] = number
            following = number + 1
        added[token] = entry
    return added


def _added_entries(
    data: Mapping[str, Any], config: Mapping[str, Any], ids: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Added tokens: those of tokenizer.json, then those that only tokenizer_config.json knows."""
    listed = data.get("added_tokens") or []
    if not isinstance(listed, list):
        raise _Malformed("has added_tokens that are no list")
    known = set(ids)
    for entry in listed:
        yield (read := _read_entry(entry))
        known.add(read["content"])
    decoder = config.get("added_tokens_decoder")
    stated = decoder if isinstance(decoder, dict) else {}
    for number in sorted(stated, key=_token_id):
        more = stated[number]
        if isinstance(more, dict) and str(more.get("content")) not in known:
            yield _read_entry({**more, "id": _token_id(number)})


def _token_id(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else -1


def _read_entry(entry: Any) -> dict[str, Any]:
    token = entry.get("content") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(token, str):
        raise _Malformed("has an added token without a text")
    _check_id(token, entry.get("id"))
    flags = {flag: entry.get(flag) is True for flag in ADDED_TOKEN_FLAGS}
    return {"id": entry["id"], "content": token, **flags}


def _check_ids(ids: Mapping[str, int], rows: int | None) -> None:
    """No id twice, and none far from what there is: later, tensors are as long as ids are high."""
    if len(set(ids.values())) != len(ids):
        seen: dict[int, str] = {}
        for token, number in ids.items():
            if number in seen:
                raise _Malformed(
                    f"gives the id {number} to {seen[number][:40]!r} and {token[:40]!r}"
                )
            seen[number] = token
    bound = (rows or 0) + 2 * len(ids) + ID_SLACK
    for token, number in ids.items():
        if number >= bound:
            what = f"tokens: {len(ids)}" + (f", rows: {rows}" if rows else "")
            raise _Malformed(
                f"gives the id {number} to {token[:40]!r}, far beyond the others ({what})"
            )
