"""Which tensors of a model have one row, or one entry, for each token: embedding, head, its bias.

Told from names, shapes and the config's vocab_size; nothing is known of any architecture.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from simmerge_hub.weights.layers import layer_of, parts
from simmerge_hub.weights.shapes import Shapes

POSITION = re.compile(r"(.*[._])?pos(ition(s|al)?)?([._].*)?")
"""Names of position embeddings, which may be as tall as a vocabulary by chance."""

OF_HEAD = re.compile(r".*\.(embed_tokens|shared_head\.head|lm_head)\.weight")
"""Names, in layers, of what heads that predict further tokens keep of their own (DeepSeek, GLM)."""
OTHER_SIZE = re.compile(r"vocab_size_.+")
"""Keys that say how many tokens a further table of embeddings knows."""


def vocabulary_tensors(
    shapes: Shapes, config: Mapping[str, Any]
) -> tuple[int | None, frozenset[str]]:
    """How many vocabulary rows a model has, and the names of the tensors that have them.

    Args:
        shapes: tensor name -> shape, of the whole model.
        config: its config.json.

    Returns:
        The first vocab_size that is the first dimension of a matrix outside of layers, or of one
        that a further head has, with those tensors; None and none if there is no such matrix.
    """
    outside = {
        name: shape
        for name, shape in shapes.items()
        if 0 < len(shape) < 3
        and (layer_of(name) is None or OF_HEAD.fullmatch(name))
        and not POSITION.fullmatch(name.lower())
    }
    for size in stated_sizes(config):
        tall = {n: shape for n, shape in outside.items() if shape[0] == size or shape == (1, size)}
        matrices = {n for n, shape in tall.items() if len(shape) == 2 and not is_row(shape)}
        if matrices:
            return size, frozenset(matrices | _biases(tall, matrices, size))
    return None, frozenset()


def other_tables(
    shapes: Shapes, config: Mapping[str, Any], known: Collection[str]
) -> dict[str, int]:
    """Tensors with a row for each of the first tokens, as Gemma 3n's embeddings for all layers.

    Args:
        shapes: tensor name -> shape, of the whole model.
        config: its config.json; it states how many tokens they know beside the vocabulary's size.
        known: vocabulary tensors, which are none of them.

    Returns:
        Tensor name -> rows.
    """
    stated = {
        size
        for part in parts(dict(config))
        for key, size in part.items()
        if OTHER_SIZE.fullmatch(key) and type(size) is int
    }
    return {
        name: shape[0]
        for name, shape in shapes.items()
        if len(shape) == 2 and shape[0] in stated and layer_of(name) is None and name not in known
    }


def _biases(tall: Shapes, matrices: set[str], size: int) -> set[str]:
    """Biases with one entry a token; where a model is as wide, only those beside a matrix."""
    modules = {name.rpartition(".")[0] for name in matrices}
    as_wide = any(tall[name][1] == size for name in matrices)
    return {
        name
        for name, shape in tall.items()
        if (len(shape) == 1 or is_row(shape))
        and name.endswith("bias")
        and (not as_wide or name.rpartition(".")[0] in modules)
    }


def is_row(shape: Sequence[int]) -> bool:
    """Whether a vocabulary tensor is a matrix of one row, [1, V]: a bias, as BART stores it."""
    return len(shape) == 2 and shape[0] == 1


def resize(shape: Sequence[int], rows: int) -> tuple[int, ...]:
    """The shape of a vocabulary tensor with another number of tokens."""
    return (1, rows) if is_row(shape) else (rows, *shape[1:])


def stated_sizes(config: Mapping[str, Any]) -> Iterator[int]:
    """Every vocab_size of a config, the outermost first."""
    for part in parts(dict(config)):
        size = part.get("vocab_size")
        if type(size) is int and size > 0:
            yield size
