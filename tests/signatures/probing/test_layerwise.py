"""A pass that stops between layers: in order, to the end or not, and no thread is left."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from simmerge_hub.errors import ProbeError
from simmerge_hub.signatures.probing import layerwise
from simmerge_hub.signatures.probing.layerwise import (
    batches,
    decoder_layers,
    pad,
    stop_between_layers,
)

SEQUENCES = [tuple(3 + (7 * i + j) % 90 for j in range(n)) for i, n in enumerate((5, 9, 12, 7, 20))]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layerwise, "BATCH_TOKENS", 20)
    assert len(batches(SEQUENCES)) == 4


class Trace:
    """The order in which batches pass layers: (number of the layer, tokens of the batch)."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.passed: list[tuple[int, int]] = []
        self.masks: list[Tensor] = []
        self.entered = self.left = 0
        for number, layer in enumerate(decoder_layers(model)):
            layer.register_forward_hook(
                lambda _m, given, _o, number=number: self.passed.append((number, given[0].shape[1]))
            )

    @contextmanager
    def enter(self, mask: Tensor) -> Iterator[None]:
        self.masks.append(mask)
        self.entered += 1
        try:
            yield
        finally:
            self.left += 1


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3", "mixtral"])
def test_all_batches_leave_a_layer_before_one_enters_the_next(
    tiny, architecture: str, small_batches: None
) -> None:
    model = tiny.model_of(architecture)
    trace, seen = Trace(model), []
    lengths = [max(map(len, batch)) for batch in batches(SEQUENCES)]
    with stop_between_layers(model, SEQUENCES, trace.enter) as layers:
        for number in layers:
            assert trace.passed == [(n, length) for n in range(number + 1) for length in lengths]
            seen.append(number)
    assert seen == [0, 1, 2]
    assert trace.entered == trace.left == 4


def test_hidden_states_are_those_of_a_plain_pass(tiny, small_batches: None) -> None:
    model, states = tiny.model_of("llama"), []
    model.model.norm.register_forward_pre_hook(lambda _m, given: states.append(given[0]))
    batched = batches(SEQUENCES)
    with stop_between_layers(model, SEQUENCES, Trace(model).enter) as layers:
        list(layers)
    stopped, states[:] = list(states), []
    for sequence in SEQUENCES:
        with torch.no_grad():
            model(torch.tensor([sequence]), use_cache=False)
    plain = dict(zip(SEQUENCES, states, strict=True))
    for batch, together in zip(batched, stopped, strict=True):
        for row, sequence in zip(together, batch, strict=True):
            torch.testing.assert_close(row[: len(sequence)], plain[sequence][0])


def test_the_head_is_not_run(tiny) -> None:
    model = tiny.model_of("llama")
    model.lm_head.forward = None
    with stop_between_layers(model, SEQUENCES, Trace(model).enter) as layers:
        assert list(layers) == [0, 1, 2]


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_leaving_early_ends_every_thread(tiny, small_batches: None, after: int) -> None:
    model = tiny.model_of("llama")
    trace = Trace(model)
    with stop_between_layers(model, SEQUENCES, trace.enter) as layers:
        for _ in range(after):
            next(layers)
        assert sum(t.daemon and t.is_alive() for t in threading.enumerate()) >= (after < 3) * 4
    assert trace.entered == trace.left == (4 if after else 0)
    assert not any(m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_an_error_in_a_pass_reaches_the_caller(tiny, small_batches: None, layer: int) -> None:
    model = tiny.model_of("llama")
    trace = Trace(model)

    def fail(_module: Any, given: tuple[Tensor, ...]) -> None:
        if given[0].shape[1] == 12:
            raise RuntimeError("a layer that fails")

    model.model.layers[layer].mlp.register_forward_pre_hook(fail)
    seen = []
    with (
        pytest.raises(RuntimeError, match="a layer that fails"),
        stop_between_layers(model, SEQUENCES, trace.enter) as layers,
    ):
        seen.extend(layers)
    assert seen == list(range(layer))
    assert trace.entered == trace.left
    assert [length for n, length in trace.passed if n == layer] == [7, 9]


def test_an_error_on_entering_reaches_the_caller(tiny) -> None:
    def enter(_mask: Tensor) -> Any:
        raise ValueError("not entered")

    model = tiny.model_of("llama")
    with (
        pytest.raises(ValueError, match="not entered"),
        stop_between_layers(model, SEQUENCES, enter) as layers,
    ):
        next(layers)


def test_an_error_of_the_caller_ends_every_thread(tiny, small_batches: None) -> None:
    model = tiny.model_of("llama")
    with (
        pytest.raises(KeyboardInterrupt),
        stop_between_layers(model, SEQUENCES, Trace(model).enter) as layers,
    ):
        next(layers)
        raise KeyboardInterrupt


def test_a_layer_that_is_passed_twice_does_not_hold_the_pass_up(tiny) -> None:
    """Three places, two modules: the last layer's turn takes what is left."""
    model = tiny.model_of("llama")
    model.model.layers[2] = model.model.layers[1]
    trace = Trace(model)
    with stop_between_layers(model, SEQUENCES, trace.enter) as layers:
        assert list(layers) == [0, 1, 2]
    assert trace.entered == trace.left == 1
    assert {number for number, _ in trace.passed} == {0, 1, 2}


def test_no_gradient_is_recorded(tiny) -> None:
    model, needs = tiny.model_of("llama"), []
    model.model.norm.register_forward_pre_hook(lambda _m, given: needs.append(given[0].grad_fn))
    with stop_between_layers(model, SEQUENCES, Trace(model).enter) as layers:
        list(layers)
    assert needs == [None]


def test_a_model_without_such_a_list_is_refused(tiny) -> None:
    model = tiny.model_of("llama")
    model.config.num_hidden_layers = 7
    with pytest.raises(ProbeError, match="LlamaForCausalLM has no list of 7 layers"):
        decoder_layers(model)


def test_padding_is_on_the_right() -> None:
    ids, mask = pad([(5, 6), (7, 8, 9)])
    assert ids.tolist() == [[5, 6, 0], [7, 8, 9]]
    assert mask.tolist() == [[1, 1, 0], [1, 1, 1]]


def test_batches_have_a_bound_and_every_sequence_once(small_batches: None) -> None:
    made = batches(SEQUENCES)
    assert sorted(s for batch in made for s in batch) == sorted(SEQUENCES)
    assert all(len(batch) * max(map(len, batch)) <= 20 for batch in made)
    assert batches(SEQUENCES[::-1]) == made
    assert batches([SEQUENCES[-1] * 3]) == [[SEQUENCES[-1] * 3]]  # at least one sequence
