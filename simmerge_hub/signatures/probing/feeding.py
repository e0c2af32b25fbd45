"""What every linear layer of a model is fed by some texts, one decoder layer at a time.

Linear layers are found as modules (`Linear`, `Conv1D`); routers and the matrices of fused experts
when they are multiplied with: names say nothing. Layers fed with one and the same tensor (query,
key and value; gate and up) share what is kept of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Embedding, Linear, Module

from simmerge_hub.operators import LayerInputs, add_inputs, reduce_inputs
from simmerge_hub.signatures.probing.layerwise import decoder_layers, stop_between_layers
from simmerge_hub.signatures.probing.products import Products, own_products
from simmerge_hub.weights.loaded.model import tie_groups

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """What one parameter was fed.

    Args:
        matrices: one entry, or one for each expert of a three-dimensional parameter.
        transposed: its matrices are [inputs, outputs], as GPT-2's `Conv1D` has them, and the
            experts of GPT-OSS and Llama 4.
    """

    matrices: tuple[LayerInputs, ...]
    transposed: bool = False


FedLayer = Mapping[str, Fed]
"""Parameter name -> what it was fed, of the parameters of one decoder layer."""


@contextmanager
def feed(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], *, again: bool = False
) -> Iterator[Iterator[FedLayer]]:
    """Run the sequences through the model; after each of its layers tell what that was fed.

    Args:
        model: in evaluation mode, whole in memory or by layers.
        sequences: token ids of each.
        again: after a layer is told it runs once more on the same inputs, unrecorded, with the
            weights it has by then, and only what it leaves then is fed to the next.

    Yields:
        An iterator with an entry for each decoder layer. Linear layers outside them come with the
        first or the last; with `again` one entry more holds those after the last layer. The output
        head is not run; it is told with the last entry unless its weight is the embedding's.
    """
    record = _Record(most=sum(map(len, sequences)))
    with ExitStack() as stack:
        stack.enter_context(_experts_one_by_one(model))
        for name, module in model.named_modules():
            for hook in _hooks(model, record, name, module):
                stack.callback(hook.remove)
        second = record.muted if again else None
        layers = stack.enter_context(stop_between_layers(model, sequences, record.spanning, second))
        yield (record.take() for _ in layers)


def parameters_outside(model: PreTrainedModel) -> list[str]:
    """Parameters outside the decoder layers that no linear layer multiplies with: embeddings too.

    They can be replaced before a model is run.
    """
    inside = {id(p) for layer in decoder_layers(model) for p in layer.parameters()}
    multiplied = {
        f"{name}.{own}"
        for name, module in model.named_modules()
        if _is_linear(module) or _has_own_matrices(module)
        for own, p in module.named_parameters(recurse=False)
        if p.ndim > 1 and not _is_tied(model, module)
    }
    named = model.named_parameters(remove_duplicate=False)
    return [name for name, p in named if id(p) not in inside and name not in multiplied]


def feed_whole(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> FedLayer:
    """What every linear layer of a small model is fed, all layers at once."""
    with feed(model, sequences) as layers:
        return {name: fed for layer in layers for name, fed in layer.items()}


@contextmanager
def _experts_one_by_one(model: PreTrainedModel) -> Iterator[None]:
    """Fused experts are multiplied with one after the other while inside."""
    before = model.get_experts_implementation() if model._can_set_experts_implementation() else None
    if before is None:
        yield
        return
    model.set_experts_implementation("eager")
    try:
        yield
    finally:
        model.set_experts_implementation(before)


def _hooks(model: PreTrainedModel, record: _Record, name: str, module: Module) -> Iterator[Any]:
    if _is_linear(module):
        if not _is_tied(model, module):
            record.transposed |= set() if isinstance(module, Linear) else {f"{name}.weight"}
            feeding = partial(_feed_module, record, f"{name}.weight")
            yield module.register_forward_pre_hook(feeding, with_kwargs=True)
    elif _has_own_matrices(module):
        yield module.register_forward_pre_hook(partial(_enter, record, name))
        yield module.register_forward_hook(record.leave)


def _is_linear(module: Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Linear | Conv1D)


def _is_tied(model: PreTrainedModel, module: Module) -> bool:
    """Whether the module is the output head and its weight the embedding's."""
    if module is not model.get_output_embeddings():
        return False
    if getattr(model.get_input_embeddings(), "weight", None) is module.weight:
        return True
    name = next(name for name, each in model.named_modules() if each is module)
    return any(f"{name}.weight" in group for group in tie_groups(model))  # by layers


def _has_own_matrices(module: Module) -> bool:
    """Whether a module multiplies with parameters of its own: a router, fused experts."""
    own = any(p.ndim in (2, 3) for p in module.parameters(recurse=False))
    return (
        own
        and not isinstance(module, Embedding)
        and not type(module).__module__.startswith("torch.nn")
    )


def _feed_module(
    record: _Record, name: str, _module: Module, inputs: tuple[Any, ...], named: Mapping[str, Any]
) -> None:
    record.add(name, 0, 1, next(iter((*inputs, *named.values()))))


def _enter(
    record: _Record, name: str, module: Module, inputs: tuple[Any, ...]
) -> tuple[Any, ...] | None:
    """Padding is made zero here: which of a batch's tokens an expert gets is not seen inside."""
    record.enter(name, module)
    if not inputs or not isinstance(inputs[0], Tensor) or not inputs[0].is_floating_point():
        return None
    states = inputs[0]
    mask = record.mask.to(states.device, states.dtype)
    if states.ndim == 3 and states.shape[:2] == mask.shape:
        return states * mask[..., None], *inputs[1:]
    if states.ndim == 2 and len(states) in (mask.numel(), mask.numel() * _experts(module)):
        times = len(states) // mask.numel()  # as often as there are experts, where each is fed all
        return states * mask.reshape(-1, 1).repeat(times, 1), *inputs[1:]
    return None


def _experts(module: Module) -> int:
    """How many matrices a module's fused parameters hold."""
    return next((len(p) for p in module.parameters(recurse=False) if p.ndim == 3), 1)


@dataclass(slots=True, eq=False)
class _Sum:
    """The inputs of one matrix so far."""

    inputs: LayerInputs | None = None


@dataclass(slots=True, eq=False)
class _Record:
    """What was fed since it was last taken; `most` tokens are fed to a layer in all."""

    most: int
    sums: dict[tuple[str, int], _Sum] = field(default_factory=dict)
    matrices: dict[str, int] = field(default_factory=dict)
    transposed: set[str] = field(default_factory=set)
    last: tuple[Tensor, _Sum] | None = None
    silent: bool = False
    _batch: Any = field(default_factory=threading.local)

    @property
    def mask(self) -> Tensor:
        """int64 [sequences, tokens] of the batch that runs in this thread."""
        return self._batch.mask

    @property
    def inside(self) -> list[tuple[str, Module]]:
        """The modules with matrices of their own that this thread is inside of."""
        return self._batch.inside

    def enter(self, name: str, module: Module) -> None:
        """This thread enters a module with matrices of its own."""
        self.inside.append((name, module))
        self._batch.rows = None

    def leave(self, *_: Any) -> None:
        """This thread leaves it."""
        self.inside.pop()
        self._batch.rows = None

    @contextmanager
    def spanning(self, mask: Tensor) -> Iterator[None]:
        """While a batch runs in this thread."""
        self._batch.mask, self._batch.inside, self._batch.rows = mask, [], None
        with Products(self.feed_product):
            yield

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Nothing is recorded inside."""
        self.silent = True
        try:
            yield
        finally:
            self.silent = False

    def add(self, name: str, number: int, matrices: int, inputs: Tensor) -> None:
        """What matrix `number` of the `matrices` of a parameter is fed: [..., width]."""
        if self.silent:
            return
        self.matrices[name] = matrices
        if self.last is not None and self.last[0] is inputs:
            self.sums[name, number] = self.last[1]
            return
        total = self.sums.setdefault((name, number), _Sum())
        real = self._real_tokens(inputs)
        if total.inputs is None:
            total.inputs = reduce_inputs(real, most=self.most)
        else:
            total.inputs = add_inputs(total.inputs, real)
        self.last = inputs, total

    def feed_product(self, func: Any, arguments: Sequence[Any]) -> None:
        """A product, where it is with matrices that the module this thread is in has itself."""
        if not self.inside:
            return
        name, module = self.inside[-1]
        for product in own_products(module, func, arguments):
            if product.transposed:
                self.transposed.add(f"{name}.{product.parameter}")
            inputs = self._real_rows(product.number, product.inputs)
            self.add(f"{name}.{product.parameter}", product.number, product.matrices, inputs)

    def take(self) -> FedLayer:
        """What was fed; nothing of it is kept here."""
        nothing = LayerInputs(tokens=0, rows=torch.zeros(0, 1))
        inputs = {key: total.inputs or nothing for key, total in self.sums.items()}
        fed = {
            name: Fed(
                matrices=tuple(inputs.get((name, i), nothing) for i in range(matrices)),
                transposed=name in self.transposed,
            )
            for name, matrices in self.matrices.items()
        }
        self.sums, self.matrices, self.last = {}, {}, None
        return fed

    def _real_tokens(self, inputs: Tensor) -> Tensor:
        """float32 [tokens, width] on the CPU, without padding where the shape tells which it is."""
        flat = inputs.detach().reshape(-1, inputs.shape[-1]).float().cpu()
        whole = inputs.shape[:-1] == self.mask.shape
        if whole or (len(flat) == self.mask.numel() and not self.inside):
            return flat[self.mask.bool().flatten()]
        return flat

    def _real_rows(self, number: int, inputs: Tensor) -> Tensor:
        """The inputs [tokens, width] of an expert that are not of padding.

        Padding is made zero where it enters. A bias may hide that from the expert's later matrices,
        which are fed the same tokens in the same order.
        """
        flat = inputs.reshape(-1, inputs.shape[-1])
        real = flat.abs().sum(-1) > 0
        before, kept = self._batch.rows or (None, real)
        if before == number and len(kept) == len(real):
            real &= kept
        self._batch.rows = number, real
        return flat[real]
