"""A forward pass that stops before the head; logits are then made of as few positions as are used.

The vocabulary is most of a small language model, and logits of all positions at once take more
memory than its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Module

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadInputs:
    """One batch on its way through a model, before the head.

    Args:
        states: [sequences, tokens, width], what the head would be given.
        logits: states [positions, width] -> logits [positions, vocabulary], with whatever the
            model's own code does to what its head gives (soft caps, scales).
    """

    states: Tensor
    logits: Callable[[Tensor], Tensor]


def run_to_head(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> HeadInputs:
    """Run a batch, int64 [sequences, tokens] both, as far as the head.

    A model without a head of its own (`get_output_embeddings`) makes all its logits at once.
    """
    inputs = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
    head = model.get_output_embeddings()
    if head is None:
        return HeadInputs(states=model(**inputs, use_cache=False).logits, logits=lambda rows: rows)
    outputs: list[Any] = []
    hooks = [
        model.get_decoder().register_forward_hook(lambda *given: outputs.append(given[-1])),
        head.register_forward_pre_hook(_stop),
    ]
    states = torch.empty(0)
    try:
        model(**inputs, use_cache=False)
    except _HeadReached as reached:
        states = reached.states
    finally:
        for hook in hooks:
            hook.remove()
    decoded = _shorten(outputs[-1]) if outputs else None
    return HeadInputs(states=states, logits=partial(_apply_head, model, decoded))


class _HeadReached(Exception):
    """The pass is over; `states` is what the head was given."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


def _stop(_head: Module, inputs: tuple[Tensor, ...]) -> None:
    raise _HeadReached(inputs[0])


def _apply_head(model: Any, decoded: Any, states: Tensor) -> Tensor:
    """The model's own code from its decoder's output on, with other states given to its head."""
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda *_: (states[None],))
    token = torch.zeros(1, 1, dtype=torch.long, device=states.device)
    try:
        with _answer(model.get_decoder(), decoded):
            return model(input_ids=token, use_cache=False).logits[0]
    finally:
        hook.remove()


@contextmanager
def _answer(decoder: Module, output: Any) -> Iterator[None]:
    """The decoder gives `output` while inside, and is not run; with None it is."""
    if output is None:
        yield
        return
    own = vars(decoder).get("forward")  # set by accelerate where weights are on the disk
    decoder.forward = lambda *_, **__: output
    try:
        yield
    finally:
        if own is None:
            del decoder.forward
        else:
            decoder.forward = own


def _shorten(output: Any) -> Any:
    """A decoder's output of which one position is left, for code that looks at it again."""
    first = output[0][:1, :1]
    if isinstance(output, tuple):
        return (first, *output[1:])
    return type(output)(**{**output, "last_hidden_state": first})
