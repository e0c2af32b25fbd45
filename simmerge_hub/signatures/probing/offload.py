"""A model run one layer at a time: a module's weights are read from its files when its turn comes.

accelerate's offload hooks ask for the weights, and a mapping of ours reads them from the
checkpoint's own safetensors files: nothing is copied to disk, and pages of the files do not count
as memory of the process. Adapters are folded in on the way by the code that merges them; PEFT
would write what it folds to the disk, or hang hooks of its own between accelerate's. The embedding
and the head, by far the largest modules, are never whole in memory.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Embedding, Linear, Module, Parameter

from simmerge_hub.signatures.probing.attention import register
from simmerge_hub.weights.loaded.origins import Origin, find_origins
from simmerge_hub.weights.shapes import matrix_shape, row_blocks
from simmerge_hub.weights.stream import Rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

READ_ENTRIES = 2**20
"""Entries of a tensor read at a time."""
M_MMAP_THRESHOLD = -3
"""What glibc's malloc.h calls the smallest block that is taken from the system by itself."""


def load_by_layers(
    folder: Path,
    rows: Mapping[str, Rows],
    dtype: torch.dtype,
    place: torch.device,
    *,
    untied: bool = False,
) -> PreTrainedModel:
    """A model that reads the weights of each module when it runs, and forgets them after.

    Args:
        folder: where its config.json lies.
        rows: its stored tensors, open as long as the model is run.
        dtype: what to compute in.
        place: where to compute.
        untied: the head is not tied to the embedding, whatever the config says.

    Raises:
        ValueError: the stored tensors are not those of the model.
    """
    from accelerate import cpu_offload

    map_large_blocks()
    model = _build_empty(folder, dtype, untied)
    stored = Stored(model=model, rows=rows, origins=find_origins(model, rows), dtype=dtype)
    _part_unequal(stored)
    _check_stored(stored)
    for name, buffer in model.named_buffers():
        if name in stored.origins:
            buffer.copy_(stored[name])
    cpu_offload(model, place, state_dict=stored)  # type: ignore[arg-type]
    _stream_head(stored, place)
    _stream_embedding(stored, place)
    if model.device.type == "meta":  # that of its first parameter: of a vision tower, which waits
        model.register_parameter("place", _freeze(torch.empty(0, dtype=dtype, device=place)))
    return model


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stored:
    """Parameter or buffer name -> its values, read when asked for and not kept."""

    model: PreTrainedModel
    rows: Mapping[str, Rows]
    origins: Mapping[str, Origin]
    dtype: torch.dtype

    def __getitem__(self, name: str) -> Tensor:
        dtype = self.model.get_parameter_or_buffer(name).dtype
        return _build_parameter(name, self.origins[name], self.model, partial(self._read, dtype))

    def __iter__(self) -> Iterator[str]:
        return iter(self.origins)

    def __len__(self) -> int:
        return len(self.origins)

    def alone(self, weight: Tensor) -> Rows | None:
        """The rows of a parameter of the model, if it is stored as it is."""
        name = next(n for n, p in self.model.named_parameters() if p is weight)
        origin = self.origins[name]
        return None if origin.converter else self.rows[origin.stored[0][0]]

    def hold_alike(self, one: str, other: str) -> bool:
        """Whether two parameters are of one stored tensor, or of two with the same values."""
        origins = self.origins[one], self.origins[other]
        if origins[0].stored == origins[1].stored:
            return True
        if any(origin.converter for origin in origins):
            return torch.equal(self[one], self[other])
        first, second = (self.rows[origin.stored[0][0]] for origin in origins)
        return first.shape == second.shape and all(
            torch.equal(first.read(*block).to(self.dtype), second.read(*block).to(self.dtype))
            for block in row_blocks(first.shape, READ_ENTRIES)
        )

    def _read(self, dtype: torch.dtype, name: str) -> Tensor:
        rows = self.rows[name]
        values = _allocate(matrix_shape(rows.shape), dtype)
        for low, high in row_blocks(rows.shape, READ_ENTRIES):
            _fill(values[low:high], rows, low)
        return values.reshape(rows.shape)


def _build_empty(folder: Path, dtype: torch.dtype, untied: bool) -> PreTrainedModel:
    """The model without weights; buffers that are computed (rotary frequencies) are there."""
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if untied:
        config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = False
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(
            config, dtype=dtype, trust_remote_code=False, attn_implementation="eager"
        )
    model.tie_weights()  # what was tied before has been replaced
    _widen(model, dtype)
    model.set_attn_implementation(register())
    return model


def _widen(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """What transformers narrows for no dtype is float32: what chooses experts, some norms."""
    from transformers.core_model_loading import build_glob_alternation

    plan = model._get_dtype_plan(dtype)
    if not plan:
        return
    wide, stored = build_glob_alternation(list(plan))[0], model.state_dict().keys()
    for name, values in (*model.named_parameters(), *model.named_buffers()):
        if name in stored and wide.search(name):
            values.data = values.data.float()


def _part_unequal(stored: Stored) -> None:
    """Untie what is stored twice, with other values: transformers loads both, whatever a config
    says."""
    model = stored.model
    for one, other in list(model.all_tied_weights_keys.items()):
        if {one, other} <= stored.origins.keys() and not stored.hold_alike(one, other):
            untie(model, one)


def untie(model: PreTrainedModel, name: str) -> None:
    """Make a parameter that is tied to another one of its own, with the same values.

    Args:
        model: whole in memory, or without weights.
        name: a key of its `all_tied_weights_keys`.
    """
    del model.all_tied_weights_keys[name]
    module, _, own = name.rpartition(".")
    weight = _freeze(model.get_parameter(name).detach().clone())
    setattr(model.get_submodule(module), own, weight)


def _check_stored(stored: Stored) -> None:
    """Refuse tensors that are missing or of the wrong shape before anything is read."""

    def empty_tensor(name: str) -> Tensor:
        return torch.empty(stored.rows[name].shape, device="meta")

    for name, parameter in stored.model.named_parameters(remove_duplicate=False):
        if name not in stored.origins:
            raise ValueError(f"it has no tensor for {name}")
        built = _build_parameter(name, stored.origins[name], stored.model, empty_tensor)
        if built.shape != parameter.shape:
            seen, wanted = list(built.shape), list(parameter.shape)
            raise ValueError(f"{name} is {seen} in its files, and {wanted} by its config")


def _build_parameter(
    name: str, origin: Origin, model: PreTrainedModel, read: Callable[[str], Tensor]
) -> Tensor:
    """A parameter, of what `read` gives for the stored tensors it is made of."""
    if origin.converter is None:
        return read(origin.stored[0][0])
    converter = deepcopy(origin.converter)  # it collects tensors, and is used once
    for source, pattern in origin.stored:
        converter.add_tensor(origin.first, source, pattern, partial(read, source))  # type: ignore[arg-type]
    parameter = converter.convert(origin.first, model=model, config=model.config)[name]
    return parameter[0] if isinstance(parameter, list) else parameter


def _stream_embedding(stored: Stored, place: torch.device) -> None:
    """Read only those rows of the embedding that the prompts name."""
    from accelerate.hooks import remove_hook_from_module

    module = stored.model.get_input_embeddings()
    rows = stored.alone(module.weight) if isinstance(module, Embedding) else None
    if not isinstance(module, Embedding) or rows is None:
        return
    dtype = module.weight.dtype

    def before(_module: Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        ids, places = inputs[0].unique(return_inverse=True)
        read = torch.cat([rows.read(i, i + 1) for i in ids.tolist()])
        module.weight = _freeze(read.to(place, dtype))
        return places, *inputs[1:]

    def after(*_: Any) -> None:
        module.weight = nothing

    nothing = _freeze(torch.empty(0, module.embedding_dim, dtype=dtype, device=place))
    remove_hook_from_module(module)
    module.weight = nothing
    module.padding_idx = None  # a row of the whole embedding, and of use in training only
    module.register_forward_pre_hook(before)
    module.register_forward_hook(after)


def _stream_head(stored: Stored, place: torch.device) -> None:
    """Read the head in blocks of rows, each multiplied before the next is read."""
    from accelerate.hooks import remove_hook_from_module

    head = stored.model.get_output_embeddings()
    rows = stored.alone(head.weight) if type(head) is Linear else None
    if type(head) is not Linear or rows is None:
        return
    name = next(n for n, module in stored.model.named_modules() if module is head)
    bias = None if head.bias is None else stored[f"{name}.bias"].to(place)

    def forward(input: Tensor) -> Tensor:  # named as in Linear
        logits = input.new_empty(*input.shape[:-1], rows.shape[0])
        blocks = row_blocks(rows.shape, READ_ENTRIES)
        space = _allocate((blocks[0][1], rows.shape[1]), head.weight.dtype)
        for low, high in blocks:
            block = _fill(space[: high - low], rows, low)
            logits[..., low:high] = input @ block.to(place).T
        return logits if bias is None else logits.add_(bias)

    remove_hook_from_module(head)
    head.forward = forward


def _freeze(values: Tensor) -> Parameter:
    return Parameter(values, requires_grad=False)


def map_large_blocks() -> None:
    """From now on malloc takes each large block from the system and gives it back when it is freed.

    glibc raises the size from which it does so, up to 32 MB, with every such block that is freed.
    Smaller ones then lie in its heap, and what stays is put between the holes that they leave: the
    peak of a model of 24 layers of 2,048 × 2,048 grew by half over the first ten of them.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(M_MMAP_THRESHOLD, 4 * READ_ENTRIES)


def trim_memory() -> None:
    """What malloc holds and nobody uses goes back to the system, where malloc can do that."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:  # glibc has it, and the holes
        trim(0)


def _allocate(shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """An empty matrix; before a large one is made, what malloc has free goes back to the system.

    Large blocks come and go all the time, and what is small and stays is put between them: running
    a model of 1.1 B parameters by layers took 1 GB for such holes.
    """
    if shape[0] * shape[1] >= READ_ENTRIES:
        trim_memory()
    return torch.empty(shape, dtype=dtype)


def _fill(space: Tensor, rows: Rows, low: int) -> Tensor:
    """`space` [n, cols], filled with n rows from row `low` on."""
    if space.dtype == torch.float32:
        return rows.read(low, low + len(space), space)
    return space.copy_(rows.read(low, low + len(space)))
