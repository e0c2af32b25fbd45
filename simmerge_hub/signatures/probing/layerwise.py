"""A forward pass that stops between layers, so that what one layer leaves can be used and dropped.

Every batch runs in a thread of its own, and only one of all threads runs at a time: when a batch is
about to enter the next layer it waits until all are there. Hidden states stay on the threads'
stacks, and whatever a model's own code does between its layers is done by that code.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simmerge_hub.errors import ProbeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_TOKENS = 2048
"""Tokens of one batch, padding included; at least one sequence."""


def decoder_layers(model: PreTrainedModel) -> list[torch.nn.Module]:
    """The model's decoder layers, first to last.

    Raises:
        ProbeError: it has no list of as many modules as its config says it has layers.
    """
    count = model.config.get_text_config().num_hidden_layers
    for part in (model.get_decoder(), model):  # a vision tower may have as many layers
        for module in part.modules():
            if isinstance(module, torch.nn.ModuleList) and len(module) == count:
                return list(module)
    raise ProbeError(
        f"{type(model).__name__} has no list of {count} layers to probe",
        hint="plan with --signals structural: weights alone",
    )


def pad(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids and mask, int64 [sequences, longest], padded on the right with zeros."""
    longest = max(map(len, sequences))
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.tensor(sequence)
        mask[i, : len(sequence)] = 1
    return ids, mask


def batches(sequences: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """Sequences of similar length together; the same ones on every machine."""
    grouped: list[list[Sequence[int]]] = [[]]
    for sequence in sorted(sequences, key=len):
        if grouped[-1] and (len(grouped[-1]) + 1) * len(sequence) > BATCH_TOKENS:
            grouped.append([])
        grouped[-1].append(sequence)
    return grouped


Again = Callable[[], AbstractContextManager[Any]]
"""What spans the second run of a layer."""


@contextmanager
def stop_between_layers(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    enter: Callable[[Tensor], Any],
    again: Again | None = None,
) -> Iterator[Iterator[int]]:
    """Run the sequences through the model without its head, layer by layer.

    Args:
        model: in evaluation mode, on any device; its weights may come and go by layers.
        sequences: token ids of each.
        enter: called with the mask int64 [sequences, tokens] of the batch that runs next, in the
            thread it runs in, before its pass; what it returns is a context that spans the pass.
        again: with it every layer runs once more on the same inputs after its stop, inside
            `again()`, and what it leaves with the weights it has by then is what goes on.

    Yields:
        An iterator over the numbers of the layers: each is given when every batch has left that
        layer. What runs before the first layer counts as part of it, what runs after the last as
        part of the last; with `again` it comes after one number more.
    """
    layers = decoder_layers(model)
    lanes = [_Lane(model, batch, enter) for batch in batches(sequences)]
    with ExitStack() as stack:
        for layer in layers if again else layers[1:]:
            if again:
                hook = layer.register_forward_hook(partial(_run_again, again), with_kwargs=True)
            else:
                hook = layer.register_forward_pre_hook(lambda *_: _Lane.current().pause())
            stack.callback(hook.remove)
        head = model.get_output_embeddings()
        if head is not None:
            stack.callback(head.register_forward_pre_hook(_skip_head).remove)
        for lane in lanes:
            stack.callback(lane.abandon)
        yield _advance_all(lanes, len(layers) + bool(again))


def _run_again(again: Again, layer: Any, inputs: Any, named: Any, _output: Any) -> Any:
    lane = _Lane.current()
    if layer in lane.stopped_at:
        return None  # passed a second time, with the weights of its own second run
    lane.stopped_at.add(layer)
    lane.pause()
    with again():
        return layer.forward(*inputs, **named)


def _advance_all(lanes: Sequence[_Lane], stops: int) -> Iterator[int]:
    for number in range(stops):
        for lane in lanes:
            lane.advance()
            while number == stops - 1 and not lane.finished:
                lane.advance()  # a layer that is passed more than once
        yield number


class _HeadReached(Exception):
    """The pass is over: what the head would compute is not needed."""


class _Abandoned(BaseException):
    """Nobody waits for the rest of the pass."""


def _skip_head(*_: Any) -> None:
    raise _HeadReached


class _Lane:
    """One batch on its way through the model, in a thread that runs only inside `advance`.

    `finished` says whether its pass has ended, well or not, and `stopped_at` after which layers it
    paused.
    """

    _here = threading.local()

    def __init__(
        self,
        model: PreTrainedModel,
        sequences: Sequence[Sequence[int]],
        enter: Callable[[Tensor], Any],
    ) -> None:
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._abandoned = self.finished = False
        self.stopped_at: set[torch.nn.Module] = set()
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, args=(model, sequences, enter), daemon=True
        )
        self._thread.start()

    @classmethod
    def current(cls) -> _Lane:
        """The lane whose thread this is."""
        return cls._here.lane

    def advance(self) -> None:
        """Run until the next pause or the end; raises what the pass raised."""
        if not self.finished:
            self._go.release()
            self._stopped.acquire()
        if self._error is not None:
            raise self._error

    def pause(self) -> None:
        """Called in the thread: wait for the next `advance`."""
        self._stopped.release()
        self._go.acquire()
        if self._abandoned:
            raise _Abandoned

    def abandon(self) -> None:
        """End the thread, wherever it is."""
        self._abandoned = True
        self._go.release()
        self._thread.join()

    def _run(self, model: Any, sequences: Sequence[Sequence[int]], enter: Any) -> None:
        self._here.lane = self
        self._go.acquire()
        try:
            if not self._abandoned:
                ids, mask = pad(sequences)
                place = model.device
                with torch.no_grad(), enter(mask):
                    model(input_ids=ids.to(place), attention_mask=mask.to(place), use_cache=False)
        except (_HeadReached, _Abandoned):
            pass
        except BaseException as error:
            self._error = error
        finally:
            self.finished = True
            self._stopped.release()
