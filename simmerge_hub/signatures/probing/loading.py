"""A checkpoint -> a model that can be run, whole in memory or by layers, as memory allows.

Knows files; nothing of what is run.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import Parameter

from simmerge_hub.errors import ProbeError, SignatureError, SimmergeError
from simmerge_hub.hub.assembly import assemble
from simmerge_hub.hub.client import first_line
from simmerge_hub.hub.files.cached import local_file, read_stated_object
from simmerge_hub.hub.resolve import TOKENIZER_FILES, Checkpoint
from simmerge_hub.signatures.probing.attention import register
from simmerge_hub.signatures.probing.offload import load_by_layers
from simmerge_hub.weights.loaded import memory
from simmerge_hub.weights.loaded.described import refuse_misfits
from simmerge_hub.weights.loaded.model import TIED
from simmerge_hub.weights.loaded.origins import find_origins
from simmerge_hub.weights.numbers import WHOLE_DTYPES
from simmerge_hub.weights.shapes import full_model, shapes
from simmerge_hub.weights.stream import Rows, open_tensors, read_buffer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@contextmanager
def open_model(
    checkpoint: Checkpoint,
    base: Checkpoint | None = None,
    *,
    dtype: str = "float32",
    device: str | None = None,
    offload: bool | None = None,
    rows: Mapping[str, Rows] | None = None,
) -> Iterator[PreTrainedModel]:
    """The model in evaluation mode while inside, with attention that can be recorded.

    No code from the repository is run: `trust_remote_code` is off, weights are safetensors.
    Results agree on every path to within the dtype's floor (`Settings.floor`).

    Args:
        checkpoint: a full model, or an adapter with its `base`, which is folded in.
        base: the model an adapter belongs to.
        dtype: what to compute in; stored weights are cast as they are read.
        device: where to compute; a GPU where torch finds one by default.
        offload: whether weights stay on the disk but for the layer that runs; by default if the
            model would take more than 80 % of the free memory.
        rows: by layers, what is read instead of the checkpoint's own tensors, of the same names.

    Raises:
        SignatureError: transformers or PEFT cannot load it.
        AlignmentError: an adapter without its base.
        CheckpointError, AlignmentError: by layers, an adapter that cannot be folded in.
    """
    whole = full_model(checkpoint, base)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if offload is None:
        size = memory.model_bytes(checkpoint, base, dtype)
        offload = size > memory.MEMORY_SHARE * memory.free_memory(place)
    with ExitStack() as stack:
        if offload:
            if rows is None:
                rows = stack.enter_context(open_tensors(checkpoint, base))
            with _explain_errors(whole):
                torch_dtype, folder = getattr(torch, dtype), model_folder(whole)
                model = load_by_layers(folder, rows, torch_dtype, place, untied=_is_untied(whole))
                _fill_whole_numbers(model, whole)
        else:
            model = _load_whole(checkpoint, whole, getattr(torch, dtype), place)
        yield model.eval()


def load_tokenizer(checkpoint: Checkpoint, base: Checkpoint | None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, or for an adapter without one its base's.

    No code from the repository is run, and nobody is asked whether it may be.

    Raises:
        ProbeError: there is none.
        SignatureError: transformers cannot load it.
    """
    from transformers import AutoTokenizer

    for holder in (checkpoint, base):
        if holder is not None and any(_is_of_tokenizer(name) for name in holder.files):
            folder = model_folder(holder)
            with _translate_errors(f"the tokenizer of {checkpoint.name}"):
                return AutoTokenizer.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False
                )
    raise ProbeError(
        f"{checkpoint.name} has no tokenizer, so prompts cannot be fed to it",
        hint="add the tokenizer's files to it, or plan with --signals structural",
    )


def load_config(checkpoint: Checkpoint, base: Checkpoint | None) -> PreTrainedConfig:
    """The config of a model's text part; an adapter's is its base's.

    Raises:
        SignatureError: transformers cannot read it.
    """
    from transformers import AutoConfig

    whole = checkpoint if checkpoint.kind == "full" or base is None else base
    with _translate_errors(whole.name):
        config = AutoConfig.from_pretrained(
            model_folder(whole), local_files_only=True, trust_remote_code=False
        )
        return config.get_text_config()


def _load_whole(
    checkpoint: Checkpoint, whole: Checkpoint, dtype: torch.dtype, place: torch.device
) -> PreTrainedModel:
    """The model whole in memory, as transformers and PEFT load it."""
    from transformers import AutoModelForCausalLM

    folder = model_folder(whole)
    with _explain_errors(whole):
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False,
            local_files_only=True, attn_implementation="eager", output_loading_info=True,
        )  # type: ignore[misc]  # fmt: skip
        for name in sorted(report["missing_keys"]):  # transformers would make up its values
            raise ValueError(f"it has no tensor for {name}")
        model.set_attn_implementation(register())
    if _is_untied(whole):
        _untie(model)
    if checkpoint.kind == "adapter":
        adapter = str(model_folder(checkpoint))
        with _silence(), _translate_errors(checkpoint.name):
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return model.to(place)  # type: ignore[arg-type]


def _fill_whole_numbers(model: PreTrainedModel, whole: Checkpoint) -> None:
    """What is looked up and never computed, as the experts of each token of DeepSeek V4.

    Raises:
        ValueError: nothing is stored for a buffer that models keep in their files.
    """
    origins, kept = find_origins(model, whole.buffers), model.state_dict().keys()
    filled = {*origins, *find_origins(model, whole.tensors)}
    made = "|".join(model._keys_to_ignore_on_load_missing or ()) or r"\Z."
    for name, buffer in model.named_buffers():
        if name in kept - filled and not re.search(made, name):
            raise ValueError(f"it has no tensor for {name}")
        if name in origins and buffer.numel():
            (stored, _), *_ = origins[name].stored
            dtype = WHOLE_DTYPES[whole.buffers[stored].dtype]
            values = torch.frombuffer(bytearray(read_buffer(whole, stored)), dtype=dtype)
            buffer.copy_(values.reshape(buffer.shape))


def _is_untied(whole: Checkpoint) -> bool:
    """Whether a head that its files tie to the embedding is one of its own: adapters part them."""
    stated = read_stated_object(whole.location, whole.files, "config.json")
    return whole.config.get(TIED) is False and stated.get(TIED) is not False


def _untie(model: PreTrainedModel) -> None:
    """PEFT would fold a head's adapter into the embedding too."""
    head = model.get_output_embeddings()
    if head is not None:
        own = {f"{name}.weight" for name, module in model.named_modules() if module is head}
        ties = model.all_tied_weights_keys
        model.all_tied_weights_keys = {n: o for n, o in ties.items() if not own & {n, o}}
        head.weight = Parameter(head.weight.detach().clone(), requires_grad=False)


@contextmanager
def _explain_errors(whole: Checkpoint) -> Iterator[None]:
    """`_translate_errors`; where the config is of other sizes than the tensors, that is said."""
    try:
        with _silence(), _translate_errors(whole.name):
            yield
    except SignatureError:
        refuse_misfits(whole.name, whole.config, shapes(whole))
        raise


@contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    """Raise what transformers and PEFT raise for a model they cannot load as an error of ours."""
    try:
        yield
    except SimmergeError:
        raise
    except Exception as error:  # the files are others', and odd ones end in any error there is
        raise SignatureError(
            f"{what} cannot be loaded: {type(error).__name__}: {first_line(error)}",
            hint=_remedy(error),
        ) from error


def _remedy(error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return "its code is never run here; plan without running it: --signals structural"
    if isinstance(error, ImportError):
        return "install the package it names, then try again"
    return "update transformers, or plan without running it: --signals structural"


@contextmanager
def _silence() -> Iterator[None]:
    """No progress bars of transformers', and no word from PEFT about what it will rename."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def model_folder(checkpoint: Checkpoint) -> Path:
    """A folder with the files loading needs, downloaded into the cache if they are remote."""
    beside = {
        name
        for name in checkpoint.files
        if "/" not in name and (name.endswith(".json") or _is_of_tokenizer(name))
    }
    if checkpoint.converted is not None:
        return assemble(checkpoint, beside)
    needed = {header.file for header in checkpoint.tensors.values()} | beside
    paths = [local_file(checkpoint.location, name) for name in sorted(needed)]
    return paths[0].parent


def _is_of_tokenizer(name: str) -> bool:
    return bool(TOKENIZER_FILES.fullmatch(name))
