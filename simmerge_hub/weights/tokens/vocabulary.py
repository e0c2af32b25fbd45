"""Vocabularies that differ: which row of every model becomes which row of the output.

Fine-tunes of one base often add tokens, so that embeddings and heads have other numbers of rows or
the same row means another token. Rows are matched by token, from headers and tokenizer.json alone:

- A model that has a token gives its own row for it. Where it lacks the token, the base's row stands
  in, else the mean of the rows of the models that have it. A row that no model has is zero.
- A token whose id is beyond a model's rows is one the model lacks.
- Rows that belong to no token (padding) are those of the model whose tokenizer the output has.
- An adapter has as many rows as its base, and its tokens unless it has a tokenizer.json of its own:
  tokens that were added where the base has padding count.
- A model without any tokenizer has that of the first model with as many rows.

So does mergekit 0.1.5, but for this: ids of the chosen tokenizer never change, padding rows are
kept, tokens that a union adds follow after the last token in the order of the models, ordinary ones
stay ordinary (with their merges), and a token that the chosen tokenizer has keeps its flags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simmerge_hub.errors import AlignmentError, RecipeError
from simmerge_hub.hub.digest import file_sha256
from simmerge_hub.hub.resolve import Checkpoint, ModelRef
from simmerge_hub.weights.shapes import Shapes, shapes
from simmerge_hub.weights.tokens.embeddings import (
    other_tables,
    stated_sizes,
    vocabulary_tensors,
)
from simmerge_hub.weights.tokens.extension import extend_tokenizer
from simmerge_hub.weights.tokens.origins import keep_padding, new_tokens, row_origins
from simmerge_hub.weights.tokens.tables import refuse_moved_rows, refuse_other_tokens
from simmerge_hub.weights.tokens.tokenizers import (
    TOKENIZER,
    Tokens,
    ids_with_rows,
    read_tokens,
    vocabulary_files,
)

if TYPE_CHECKING:
    from torch import Tensor

TOKENS_SHOWN = 3
"""Tokens that a note shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """How every model's vocabulary rows become the output's.

    `size` is the rows of the output's vocabulary tensors, `tensors` the names of those: embedding,
    head, the head's bias. `origins` gives for each model, as int64 [size], its row for each of the
    output's, or -1; `rows` how many it has. `source` is the model whose tokenizer files the output
    carries, `files` those of them that have other content. `notes` are sentences about what was
    decided.
    """

    size: int
    origins: Mapping[str, Tensor]
    rows: Mapping[str, int]
    tensors: frozenset[str]
    files: Mapping[str, str]
    source: str
    notes: tuple[str, ...]


def match_vocabularies(
    checkpoints: Mapping[str, Checkpoint], base: str | None, choice: str, *, source: str = ""
) -> Vocabulary | None:
    """Match the vocabularies of several models.

    Args:
        checkpoints: what is merged, and the base, by name; an adapter needs the base.
        base: the name of the base, if there is one.
        choice: whose tokenizer the output has: "base" (the first model's without a base), "union"
            (the same with the tokens of all) or a name.
        source: whose tokenizer a union starts from, if not from the base's.

    Returns:
        None if all agree, so that rows merge as they are.

    Raises:
        RecipeError: `choice` is no model.
        AlignmentError: the vocabularies differ and cannot be told or joined.
        CheckpointError: a tokenizer.json that cannot be read.
    """
    source = source or _choose_source(checkpoints, base, choice)
    models = _describe_models(checkpoints, checkpoints.get(base or ""))
    known = [model for model in models if TOKENIZER in model.tokenizer.files]
    heights = {model.rows for model in models if model.rows is not None}
    if len(heights) < 2:
        refuse_other_tokens([m.tokenizer for m in models], next(iter(heights), None))
    if len(heights) < 2 and len({file_sha256(m.tokenizer, TOKENIZER) for m in known}) < 2:
        return None
    tokens = _read_all_tokens(known)
    held = {model.name: ids_with_rows(tokens[model.name], model.rows) for model in known}
    if len(heights) < 2 and all(ids == held[known[0].name] for ids in held.values()):
        return None
    if len(heights) < 2 and choice != "union" and _share_additions(models, held, source, base):
        return None
    _refuse_unknown_rows(models)
    notes = []
    for model in models:
        if model.name not in tokens:
            twin = _find_twin(model, models, tokens)
            tokens[model.name], held[model.name] = tokens[twin], held[twin]
            notes.append(f"{model.name} has no tokenizer: its rows are taken to be those of {twin}")
            source = twin if model.name == source else source
    vocabulary = _match(models, tokens, held, source, choice, notes)
    for model in models:
        whole = checkpoints[base or ""] if model.kind == "adapter" else checkpoints[model.name]
        tables = other_tables(model.shapes, whole.config, vocabulary.tensors)
        refuse_moved_rows(model.name, tables, vocabulary.origins[model.name])
    return vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """One model: whose tokenizer files say what its rows are, and how many there are."""

    name: str
    kind: str
    tokenizer: Checkpoint
    shapes: Shapes
    rows: int | None
    tensors: frozenset[str]


def _choose_source(checkpoints: Mapping[str, Checkpoint], base: str | None, choice: str) -> str:
    """The model whose ids the output has."""
    if choice in ("base", "union"):
        return base or next(iter(checkpoints))
    if choice not in checkpoints:
        raise RecipeError(
            f"the tokenizer is to be that of {choice!r}, which is not merged",
            hint=f"write base, union or one of: {', '.join(checkpoints)}",
        )
    return choice


def _describe_models(
    checkpoints: Mapping[str, Checkpoint], base: Checkpoint | None
) -> list[_Model]:
    models = []
    for name, checkpoint in checkpoints.items():
        own = checkpoint.kind == "full" or TOKENIZER in checkpoint.files
        whole = base if base and checkpoint.kind == "adapter" else checkpoint
        stored = shapes(checkpoint, base)
        rows, tensors = vocabulary_tensors(stored, whole.config)
        models.append(
            _Model(
                name=name,
                kind=checkpoint.kind,
                tokenizer=checkpoint if own else whole,
                shapes=stored,
                rows=rows,
                tensors=tensors,
            )
        )
    return models


def _read_all_tokens(models: Sequence[_Model]) -> dict[str, Tokens]:
    """Model name -> its tokens; adapters without a tokenizer share those of their base."""
    read: dict[tuple[ModelRef, int | None], Tokens] = {}
    for model in models:
        key = (model.tokenizer.ref, model.rows)
        if key not in read:
            read[key] = read_tokens(model.tokenizer, model.rows)
    return {model.name: read[model.tokenizer.ref, model.rows] for model in models}


def _refuse_unknown_rows(models: Sequence[_Model]) -> None:
    for model in models:
        if model.rows is None:
            stated = next(stated_sizes(model.tokenizer.config), None)
            says = "which it does not state" if stated is None else f"which is {stated}"
            raise AlignmentError(
                f"the vocabularies differ, and no tensor of {model.name} has as many rows as its "
                f"config's vocab_size, {says}",
                hint="correct vocab_size in its config.json, or merge models with one vocabulary",
            )


def _share_additions(
    models: Sequence[_Model],
    held: Mapping[str, Mapping[str, int]],
    source: str,
    base: str | None,
) -> bool:
    """Whether adapters all added the same tokens where the base, whose tokenizer the output has,
    has padding: no row is another token in any, and what they were taught there is kept."""
    others = [model for model in models if model.name != base]
    if source != base or any(model.kind != "adapter" for model in others):
        return False
    ids, own = [held.get(model.name, {}) for model in others], held.get(source)
    return own is not None and all(each == ids[0] and own.items() <= each.items() for each in ids)


def _find_twin(model: _Model, models: Sequence[_Model], tokens: Mapping[str, Tokens]) -> str:
    """The first model with a readable tokenizer and as many rows as one that has none at all."""
    twins = [m.name for m in models if m.name in tokens and m.rows == model.rows]
    if twins and not vocabulary_files(model.tokenizer):
        return twins[0]
    seen = "; ".join(
        f"{m.name}: {m.rows} rows, {', '.join(vocabulary_files(m.tokenizer)) or 'no tokenizer'}"
        for m in models
    )
    raise AlignmentError(
        f"the vocabularies differ, and {model.name} has no {TOKENIZER} to tell how ({seen})",
        hint="load its tokenizer with transformers and save_pretrained() it: that writes "
        f"{TOKENIZER}",
    )


def _match(
    models: Sequence[_Model],
    tokens: Mapping[str, Tokens],
    held: Mapping[str, Mapping[str, int]],
    source: str,
    choice: str,
    notes: Sequence[str],
) -> Vocabulary:
    """The vocabulary of the output: the source's, with what the others add in a union."""
    chosen = next(model for model in models if model.name == source)
    new = new_tokens(tokens[source], held) if choice == "union" else {}
    ids = {**tokens[source].ids, **new}
    used = [n for token, n in ids.items() if any(token in mine for mine in held.values())]
    size = max(chosen.rows or 0, 1 + max(used, default=-1))
    origins = {name: row_origins(ids, mine, size) for name, mine in held.items()}
    origins = {model.name: origins[model.name] for model in models}
    origins[source] = keep_padding(origins[source], ids, chosen.rows or 0)
    donors = [tokens[model.name] for model in models if model.name != source]
    return Vocabulary(
        size=size,
        origins=origins,
        rows={model.name: model.rows or 0 for model in models},
        tensors=_common_tensors(models),
        files=extend_tokenizer(tokens[source], new, donors) if new else {},
        source=source,
        notes=(*notes, *_notes(models, held, origins, source, tokens[source], new)),
    )


def _common_tensors(models: Sequence[_Model]) -> frozenset[str]:
    """Vocabulary tensors of some model that are so in every model that has them."""
    names = {name for model in models for name in model.tensors}
    return frozenset(
        name for name in names if all(name in m.tensors for m in models if name in m.shapes)
    )


def _notes(
    models: Sequence[_Model],
    held: Mapping[str, Mapping[str, int]],
    origins: Mapping[str, Tensor],
    source: str,
    tokens: Tokens,
    new: Mapping[str, int],
) -> Iterator[str]:
    import torch

    size = len(origins[source])
    ids = {**tokens.ids, **new}
    yield f"the output has the tokenizer of {source}; tokens added to it: {len(new)}"
    for model in models:
        mine = held[model.name]
        if model.rows != size:
            yield f"vocabulary rows of {model.name}: {model.rows}, of the output: {size}"
        if model.name == source or model.kind != model.tokenizer.kind:
            continue  # an adapter without a tokenizer of its own has its base's tokens
        extra = [token for token in mine if token not in tokens.ids]
        if extra:
            done = "added" if new else "left out"
            more = ", …" if extra[TOKENS_SHOWN:] else ""
            shown = ", ".join(map(repr, extra[:TOKENS_SHOWN])) + more
            yield f"tokens of {model.name} not in {source}, {done}: {len(extra)} ({shown})"
        lacking = sum(token not in mine for token in held[source])
        if lacking:
            yield f"tokens of {source} that {model.name} lacks: {lacking}"
        moved = sum(mine.get(token, number) != number for token, number in ids.items())
        if moved:
            yield f"tokens of {model.name} whose rows are moved: {moved}"
    empty = int((torch.stack(list(origins.values())) < 0).all(0).sum())
    if empty:
        yield f"vocabulary rows that no model has, and are zero: {empty}"
