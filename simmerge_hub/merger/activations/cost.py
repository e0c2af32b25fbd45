"""What running the models of a merge costs, from headers and prompts: nothing is run.

Which tensors are linear layers is not known before a model is run: all with rows and columns count,
and those of one module that are equally wide as fed with at most two different inputs. Tokens are
estimated from characters, and from how long a tokenizer's tokens are: no tokenizer is run.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from statistics import fmean
from time import perf_counter
from typing import Any

import torch

from simmerge_hub.errors import CheckpointError
from simmerge_hub.merger.layout import Layout
from simmerge_hub.operators.regression.inputs import KEPT_ROWS
from simmerge_hub.recipe.calibration import Calibration
from simmerge_hub.signatures.probing.layerwise import BATCH_TOKENS
from simmerge_hub.signatures.probing.probe import ProbeSet
from simmerge_hub.signatures.probing.sketch import TOKENS
from simmerge_hub.weights.layers import layer_of
from simmerge_hub.weights.loaded.memory import MEMORY_SHARE, free_memory, model_bytes
from simmerge_hub.weights.tokens.tokenizers import TOKENIZER, read_tokens

LEADS_OUT = re.compile(r"\.(down|output|w2|o_proj)[^.]*$")
"""Names of matrices whose result is as wide as the hidden states."""
CHARACTERS = 4
"""Characters of a token, on average, where a model's tokens are not as short as letters."""
LIBRARY_BYTES = 330 * 2**20
"""Bytes that transformers and accelerate take, once imported, beside Python and torch."""
STATES = 8
"""Matrices as large as a batch's widest activations that a layer holds while it runs."""
PRODUCT = 768
"""Rows and columns of the matrices that are multiplied to see how fast that is here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """The cost of running models for their activations, on top of that of merging.

    `models` are run `runs` times each, and `answers` times more for the tokens of its answers; a
    model's layer runs twice where it is fed what the merge's layers before it leave. `prompts`
    and `tokens` are of all models together, the latter estimated, answers included. `memory` is in
    bytes: the largest layer of the models and the solution of its widest matrix, or a whole model
    while it answers. `seconds` are those of the arithmetic.
    """

    models: tuple[str, ...]
    prompts: int
    tokens: int
    runs: int
    answers: int
    memory: int
    seconds: float

    @property
    def count(self) -> int:
        """Forward passes of all models."""
        return len(self.models) * (self.runs + self.answers)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Some tensors of one module and width: how many matrices' inputs, and entries in all."""

    width: int
    kinds: int
    entries: int


def count_passes(
    layout: Layout, prompts: Mapping[str, Sequence[ProbeSet]], threads: int
) -> Passes | None:
    """What it costs to run a layout's models on their prompts; None if no model is run."""
    calibration = layout.recipe.calibration
    if not prompts or calibration is None:
        return None
    lengths = {
        name: _estimate_lengths(sets, calibration, _characters(layout, name))
        for name, sets in prompts.items()
    }
    tokens = sum(map(sum, lengths.values()))
    layers, counts = _group_by_layer(layout), [sum(each) for each in lengths.values()]
    states = _state_bytes(layers, counts)
    held, runs = _layer_bytes(layers, counts, threads), 1 + layout.recipe.feeds_merge
    if calibration.answers:
        held = max(held, _answering_bytes(layout, tuple(prompts)))
    return Passes(
        models=tuple(prompts),
        prompts=sum(map(len, lengths.values())),
        tokens=tokens,
        runs=runs,
        answers=calibration.answers,
        memory=LIBRARY_BYTES + states + held,
        seconds=_seconds(layers, counts, runs + bool(calibration.answers), threads),
    )


def _characters(layout: Layout, name: str) -> float:
    """Characters of a token of a model: of none more than on average, of letters 1."""
    model = layout.checkpoints[name]
    readers = [each for each in (model, layout.base) if each and TOKENIZER in each.files]
    if not readers:
        return CHARACTERS
    try:
        tokens = read_tokens(readers[0], None)
    except CheckpointError:  # told where its tokens count
        return CHARACTERS
    words = (token for token in tokens.ids if token not in tokens.added)
    lengths = [len(word) for word in words if word and word[0] != "<"]
    return min(CHARACTERS, fmean(lengths)) if lengths else CHARACTERS


def _estimate_lengths(
    sets: Sequence[ProbeSet], calibration: Calibration, characters: float
) -> list[int]:
    """Tokens of each different prompt with its answer."""
    texts = dict.fromkeys(text for each in sets for text in each.prompts)
    return [min(TOKENS, ceil(len(text) / characters) + 1) + calibration.answers for text in texts]


def _group_by_layer(layout: Layout) -> list[list[_Inputs]]:
    """The matrices of each layer, and of everything outside layers, by what feeds them."""
    words = layout.vocabulary.tensors if layout.vocabulary else ()
    config = layout.reference.config
    text = config.get("text_config")
    hidden = (text if isinstance(text, dict) else config).get("hidden_size")
    layers: dict[tuple[str, int], dict[tuple[str, int], list[tuple[int, ...]]]] = {}
    for name, match in layout.tensors.items():
        if len(match.shape) not in (2, 3) or match.copied or name in words:
            continue
        place = layer_of(name)
        layer = (place.stack, place.number) if place else ("", 0)
        module = name.rsplit(".", 2)[0] if place else name
        width = _input_width(name, match.shape, hidden)
        layers.setdefault(layer, {}).setdefault((module, width), []).append(match.shape)
    return [
        [
            _Inputs(
                width=width,
                kinds=sum(shape[0] if len(shape) == 3 else 1 for shape in shapes[:2]),
                entries=sum(map(prod, shapes)),
            )
            for (_, width), shapes in groups.items()
        ]
        for groups in layers.values()
    ]


def _input_width(name: str, shape: tuple[int, ...], hidden: Any) -> int:
    """How wide what a matrix is multiplied with is: a stack may be [experts, in, out]."""
    if len(shape) == 2 or hidden not in shape[1:]:
        return shape[-1]
    other = shape[2] if shape[1] == hidden else shape[1]
    return other if LEADS_OUT.search(name) else hidden


def _state_bytes(layers: Sequence[Sequence[_Inputs]], tokens: Sequence[int]) -> int:
    """Hidden states of all models between layers, and of the batch that runs in one."""
    widths = [each.width for layer in layers for each in layer]
    running = STATES * min(BATCH_TOKENS, max(tokens)) * max(widths, default=1)
    return 4 * (sum(tokens) * min(widths, default=1) + running)


def _layer_bytes(layers: Sequence[Sequence[_Inputs]], tokens: Sequence[int], threads: int) -> int:
    """Of the layer that takes most."""
    return max((_bytes_of(layer, tokens, threads) for layer in layers), default=0)


def _bytes_of(layer: Sequence[_Inputs], tokens: Sequence[int], threads: int) -> int:
    """What is kept of the inputs; and then a module's weights, or what is solved at a time."""
    kept = sum(
        4 * each.kinds * each.width * _rows_kept(each.width, t) for each in layer for t in tokens
    )
    solved = sorted((_solution_bytes(each, tokens) for each in layer), reverse=True)
    weights = 2 * 4 * max(each.entries for each in layer)
    return kept + max(weights, sum(solved[:threads]))


def _solution_bytes(inputs: _Inputs, tokens: Sequence[int]) -> int:
    width, models = inputs.width, len(tokens)
    if _are_few(width, tokens):
        return 4 * 8 * width * sum(tokens) + 2 * 8 * sum(tokens) ** 2
    return width**2 * (3 * 8 + 4 * (models - 1))


def _are_few(width: int, tokens: Sequence[int]) -> bool:
    return all(_rows_kept(width, each) < width for each in tokens)


def _rows_kept(width: int, tokens: int) -> int:
    """Of a matrix's inputs: themselves, or their products with each other."""
    return tokens if tokens * KEPT_ROWS <= width else width


def _answering_bytes(layout: Layout, models: Sequence[str]) -> int:
    """A model that answers is whole in memory if it fits, and else run by layers.

    While it is loaded the pages of its files count too.
    """
    sizes = []
    for name in models:
        checkpoint = layout.checkpoints[name]
        size = model_bytes(checkpoint, layout.base, "float32")
        whole = checkpoint if checkpoint.kind == "full" else layout.base or checkpoint
        stored = sum(header.end - header.start for header in whole.tensors.values())
        sizes.append(size + stored if size <= MEMORY_SHARE * free_memory() else 0)
    return max(sizes)


def _seconds(
    layers: Sequence[Sequence[_Inputs]], tokens: Sequence[int], runs: int, threads: int
) -> float:
    """Models run on all cores; what is solved and mixed for one matrix is one thread's work."""
    run, together = runs * sum(tokens), _measure_product(torch.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    single, double = _measure_product(torch.float32), _measure_product(torch.float64)
    torch.set_num_threads(before)
    total = 0.0
    for layer in layers:
        solved = [_solving(each, tokens, single, double) for each in layer]
        total += max(max(solved), sum(solved) / threads) if solved else 0
        total += sum(2 * each.entries * run + _keeping(each, tokens) for each in layer) / together
    return total


def _keeping(inputs: _Inputs, tokens: Sequence[int]) -> float:
    """Operations for the products of a layer's inputs with each other."""
    few = _are_few(inputs.width, tokens)
    return 0 if few else 2 * inputs.kinds * inputs.width**2 * sum(tokens)


def _solving(inputs: _Inputs, tokens: Sequence[int], single: float, double: float) -> float:
    """Seconds to solve for what mixes the rows, and to mix them."""
    width, fed, more = inputs.width, sum(tokens), len(tokens) - 1
    if _are_few(width, tokens):
        solved, mixed = 4 * width * fed**2 + fed**3 / 3, 6 * inputs.entries * more * fed
    else:
        solved, mixed = width**3 * (1 / 3 + 2 * more), 2 * inputs.entries * more * width
    return inputs.kinds * solved / double + mixed / single


def _measure_product(dtype: torch.dtype) -> float:
    """Floating-point operations a second: the better of two products."""
    matrix, took = torch.randn(PRODUCT, PRODUCT).to(dtype), []
    for _ in range(2):
        began = perf_counter()
        torch.mm(matrix, matrix)
        took.append(perf_counter() - began)
    return 2 * PRODUCT**3 / min(took)
