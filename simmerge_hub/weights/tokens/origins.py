"""Rows by token: the ids of an output's tokens, which row of a model each one is, and tensors with
the output's rows. Knows nothing of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from simmerge_hub.weights.tokens.embeddings import is_row
from simmerge_hub.weights.tokens.tokenizers import Tokens

if TYPE_CHECKING:
    from torch import Tensor

    from simmerge_hub.weights.stream import Rows


def new_tokens(source: Tokens, held: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Tokens that the source lacks -> new ids after its last, in the order of models and ids."""
    missing: dict[str, None] = {}
    for mine in held.values():
        for token in sorted(mine.keys() - source.ids.keys(), key=mine.__getitem__):
            missing.setdefault(token)
    first = 1 + max(source.ids.values(), default=-1)
    return {token: first + place for place, token in enumerate(missing)}


def row_origins(ids: Mapping[str, int], held: Mapping[str, int], size: int) -> Tensor:
    """A model's row for each token's row of the output, int64 [size]; -1 where it has none.

    Args:
        ids: token -> its row of the output.
        held: token -> its row of the model.
        size: rows of the output.
    """
    import torch

    pairs = [(number, held[token]) for token, number in ids.items() if token in held]
    origins = torch.full((size,), -1)
    if pairs:
        places, rows = torch.tensor(pairs).T
        origins[places] = rows
    return origins


def keep_padding(origins: Tensor, ids: Mapping[str, int], rows: int) -> Tensor:
    """The source's own origins: its rows that are no token's stay where they are.

    Args:
        origins: int64 [size], of its tokens.
        ids: token -> its row of the output.
        rows: how many the source has.
    """
    import torch

    size = len(origins)
    free = torch.ones(size, dtype=torch.bool)
    free[torch.tensor([n for n in ids.values() if n < size], dtype=torch.long)] = False
    places = torch.arange(size)
    return torch.where(free & (places < rows), places, origins)


def rearrange(
    origins: Mapping[str, Tensor], base: str | None, rows: Mapping[str, Rows]
) -> dict[str, Rows]:
    """The same vocabulary tensor of every model, with the output's rows.

    Args:
        origins: model name -> its row for each of the output's, int64 [size]; -1 where it has none.
        base: the name of the base, whose rows stand in for missing ones.
        rows: model name -> its tensor, [V, D], [V] or [1, V]; V may differ.

    Returns:
        Model name -> the tensor, [size, D], [size] or [1, size]. Rows that follow on each other in
        a model are fetched in one read.
    """
    import torch

    from simmerge_hub.weights.gather import fill_origins, gather_rows

    if all(is_row(tensor.shape) for tensor in rows.values()):
        vectors = {name: replace(tensor, shape=tensor.shape[1:]) for name, tensor in rows.items()}
        made = rearrange(origins, base, vectors)
        return {name: replace(vector, shape=(1, *vector.shape)) for name, vector in made.items()}
    names = [name for name in origins if name in rows]
    table = torch.stack([origins[name] for name in names])
    sources = [rows[name] for name in names]
    donor = names.index(base) if base in names else None
    return {
        name: gather_rows(sources, fill_origins(table, place, donor), release=rows[name].release)
        for place, name in enumerate(names)
    }
