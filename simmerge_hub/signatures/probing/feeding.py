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
from torch.nn import Embedding, Linear, Module, Parameter
from torch.overrides import TorchFunctionMode

from simmerge_hub.operators import LayerInputs, add_inputs, reduce_inputs
from simmerge_hub.signatures.probing.layerwise import decoder_layers, stop_between_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """What one parameter was fed.

    Args:
        matrices: one entry, or one for each expert of a three-dimensional parameter.
        transposed: the parameter is [inputs, outputs], as GPT-2's `Conv1D` has it.
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
        yield module.register_forward_hook(partial(_leave, record))


def _is_linear(module: Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Linear | Conv1D)


def _is_tied(model: PreTrainedModel, module: Module) -> bool:
    """Whether the module is the output head and its weight the embedding's."""
    if module is not model.get_output_embeddings():
        return False
    tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    return bool(tied) or getattr(model.get_input_embeddings(), "weight", None) is module.weight


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
    record.inside.append((name, module))
    if not inputs or not isinstance(inputs[0], Tensor) or not inputs[0].is_floating_point():
        return None
    states = inputs[0]
    mask = record.mask.to(states.device, states.dtype)
    if states.ndim == 3 and states.shape[:2] == mask.shape:
        return states * mask[..., None], *inputs[1:]
    if states.ndim == 2 and len(states) == mask.numel():
        return states * mask.reshape(-1, 1), *inputs[1:]
    return None


def _leave(record: _Record, *_: Any) -> None:
    record.inside.pop()


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

    @contextmanager
    def spanning(self, mask: Tensor) -> Iterator[None]:
        """While a batch runs in this thread."""
        self._batch.mask, self._batch.inside = mask, []
        with _Products(self):
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


class _Products(TorchFunctionMode):
    """Notices products with a matrix that is a parameter, or one of several in a parameter."""

    def __init__(self, record: _Record) -> None:
        super().__init__()
        self._record = record

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.nn.functional.linear and self._record.inside:
            name, module = self._record.inside[-1]
            given = dict(zip(("input", "weight"), args, strict=False)) | (kwargs or {})
            _feed_parameter(self._record, name, module, given["input"], given["weight"])
        return func(*args, **(kwargs or {}))


def _feed_parameter(
    record: _Record, name: str, module: Module, inputs: Tensor, weight: Tensor
) -> None:
    for own, parameter in module.named_parameters(recurse=False):
        if not _is_part(weight, parameter):
            continue
        whole = parameter if parameter.ndim == 3 else parameter[None]
        number = (weight.storage_offset() - parameter.storage_offset()) // whole.stride(0)
        flat = inputs.reshape(-1, inputs.shape[-1])
        record.add(f"{name}.{own}", number, len(whole), flat[flat.abs().sum(-1) > 0])  # no padding


def _is_part(weight: Tensor, parameter: Parameter) -> bool:
    return (
        weight.shape == parameter.shape[-2:]
        and weight.untyped_storage().data_ptr() == parameter.untyped_storage().data_ptr()
        and weight.stride() == parameter.stride()[-2:]
    )
