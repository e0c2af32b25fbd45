"""Which adapters are products of two matrices, and which are more, or other."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from simmerge_hub.errors import CheckpointError, HubError
from simmerge_hub.hub.client import COMMIT_HASH
from simmerge_hub.hub.resolve import Checkpoint, ModelRef, resolve_files
from simmerge_hub.names import list_first
from simmerge_hub.weights.adapters.settings import check_settings, unknown_settings
from simmerge_hub.weights.layers import layer_of

CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that also change the base's weights, as PEFT names them."""
UNFOLDABLE = (
    "alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "lora_bias",
    "monteclora_config", "trainable_token_indices", "use_bdlora", "use_qalora", "velora_config",
)  # fmt: skip
"""Settings of PEFT that make a LoRA more, or other, than a product of two matrices."""
PREFIX = "base_model.model."
ADAPTER_NAME = re.compile(
    r"(\.(?:lora_(?:embedding_)?[AB]|lora_magnitude_vector|modules_to_save))\.(?!weight$|bias$)[^.]+(?=\.|$)"
)
"""The name of an adapter within that of a tensor."""
WRAPPED = re.compile(r"\.base_layer\.(?!(?:base_layer\.)*lora_)")
"""Before a module's own tensors; parameters of one module are adapted in layers, named so too."""
WRAPPERS = re.compile(
    r"(^|\.)(?:(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_fpw_module)\.)+"
)
"""What torch.compile, FSDP and activation checkpointing put into names."""
MAGNITUDE = ".lora_magnitude_vector"
SAVED, BEFORE = ".modules_to_save.", ".original_module."
"""In the names of a module that is trained whole: what it became, and what it was."""
LORA = re.compile(r"(.+)\.lora_(embedding_)?A(\.weight)?")


def check_kind(checkpoint: Checkpoint) -> None:
    """CheckpointError if the config says that it is more, or other, than products of matrices."""
    config = checkpoint.config
    if config.get("peft_type") != "LORA":
        kind = config.get("peft_type")
        raise unfoldable_error(
            checkpoint, f"is a {kind!s:.40} adapter; only LoRA (rsLoRA, DoRA) can be folded in"
        )
    check_settings(checkpoint.name, config)
    if config.get("bias", "none") != "none":
        raise unfoldable_error(checkpoint, f"trains biases too (bias={config['bias']!r})")
    started = str(config.get("init_lora_weights"))
    if started.lower().startswith(CHANGES_BASE):  # PEFT reads OLoRA as it reads olora
        raise unfoldable_error(
            checkpoint, f"was started with {started}, which changes the base too"
        )
    for key in UNFOLDABLE:
        if config.get(key):
            raise unfoldable_error(checkpoint, f"is a LoRA of a special kind ({key})")
    _check_magnitudes(checkpoint)


def _check_magnitudes(checkpoint: Checkpoint) -> None:
    """A DoRA without its vectors, or vectors that PEFT would pass over, is another model."""
    names = base_names(checkpoint.tensors).values()
    adapted = {match[1] for name in names if (match := LORA.fullmatch(name))}
    scaled = {name.partition(MAGNITUDE)[0] for name in names if MAGNITUDE in name}
    if checkpoint.config.get("use_dora"):
        if lacking := sorted(adapted - scaled):
            raise unfoldable_error(checkpoint, f"says use_dora, and lacks {lacking[0]}{MAGNITUDE}")
    elif scaled:
        first = min(scaled)
        raise unfoldable_error(checkpoint, f"has {first}{MAGNITUDE}, and does not say use_dora")


def unfoldable_error(checkpoint: Checkpoint, seen: str) -> CheckpointError:
    """The error for an adapter of which `seen` is true."""
    return CheckpointError(
        f"{checkpoint.name} {seen}",
        hint="merge it into its base with peft's merge_and_unload() and use the result",
    )


def other_base(checkpoint: Checkpoint, base: Checkpoint) -> list[str]:
    """A sentence if an adapter names another repository as its base; [] if not."""
    named = checkpoint.config.get("base_model_name_or_path")
    if not isinstance(named, str) or not base.ref.repo or "/" not in named or named.startswith("/"):
        return []
    if named == base.ref.repo:
        return []
    return [f"{checkpoint.name} says its base is {named}, and is added to {base.name}"]


def other_revision(checkpoint: Checkpoint, base: Checkpoint) -> list[str]:
    """A sentence if an adapter names another commit of its base; [] if not, or if nobody knows."""
    named, revision = base_revision(checkpoint)
    if named != base.ref.repo or not base.commit or revision in ("", base.commit):
        return []
    try:
        commit = resolve_files(ModelRef(repo=named, revision=revision))[0].commit
    except HubError:  # a branch or tag that nobody can look up; a commit says it by itself
        commit = revision if COMMIT_HASH.fullmatch(revision) else base.commit
    if commit == base.commit:
        return []
    return [
        f"{checkpoint.name} says its base is {named} at {revision}, and is added to it at "
        f"{base.commit[:8]}"
    ]


def base_revision(checkpoint: Checkpoint) -> tuple[str, str]:
    """What an adapter's config says that its base is, and at which revision; "" if it does not."""
    stated = (checkpoint.config.get(key) for key in ("base_model_name_or_path", "revision"))
    name, revision = (each if isinstance(each, str) else "" for each in stated)
    return (name, revision) if checkpoint.kind == "adapter" else ("", "")


def ignored_settings(checkpoint: Checkpoint) -> list[str]:
    """A sentence if an adapter's config says what only a newer PEFT knows; [] if not."""
    unknown = unknown_settings(checkpoint.config)
    said = f"{checkpoint.name} has settings of a newer PEFT, not followed: {list_first(unknown)}"
    return [said] * bool(unknown)


def unaimed_modules(checkpoint: Checkpoint) -> list[str]:
    """A sentence if an adapter holds matrices of modules that its config does not name; [] if not.

    PEFT makes no room for those, and passes over them without a word.
    """
    config, names = checkpoint.config, base_names(checkpoint.tensors).values()
    modules = sorted({match[1] for name in names if (match := LORA.fullmatch(name))})
    if config.get("target_parameters") or config.get("ensure_weight_tying"):
        return []  # then there are more than its target_modules
    unaimed = [module for module in modules if not _is_aimed_at(module, config)]
    if not unaimed:
        return []
    return [
        f"{checkpoint.name} holds matrices of {list_first(unaimed, 1)}, at which its config does "
        "not aim: PEFT passes over them, here they are added"
    ]


def _is_aimed_at(module: str, config: Mapping[str, Any]) -> bool:
    """By PEFT's rules for lists of names; True where the config has a pattern or nothing."""
    excluded, targets = config.get("exclude_modules"), config.get("target_modules")
    if isinstance(excluded, list) and is_listed(module, excluded):
        return False
    if not isinstance(targets, list) or module in targets:
        return True
    layers, at = config.get("layers_to_transform"), layer_of(module)
    layers = [layers] if isinstance(layers, int) else layers
    in_layers = not layers or config.get("layers_pattern") or not at or at.number in layers
    return is_listed(module, targets) and bool(in_layers)


def is_listed(module: str, names: Iterable[str]) -> bool:
    """PEFT's rule for a list of modules: the name, or its end after a dot."""
    return any(module == name or module.endswith(f".{name}") for name in names)


def base_names(names: Iterable[str]) -> dict[str, str]:
    """Stored tensor -> `base_name`, but for copies that PEFT saves and does not read.

    Of a module that is trained whole it saves what it was before (`original_module`) and, where
    embeddings are saved too, the same tensor under a second name.
    """
    every = set(names)
    copies = {n for n in every if n.replace(SAVED, ".") in every - {n}}
    copies |= {n for n in every if n.replace(BEFORE, ".") in every - {n}}
    return {name: base_name(name) for name in names if name not in copies}


def unwrap(name: str) -> str:
    """A tensor's name without what torch's wrappers put into it.

    Args:
        name: as it is stored.
    """
    return WRAPPERS.sub(r"\1", name)


def base_name(name: str) -> str:
    """What a stored tensor's parameter is called in memory.

    PEFT saves adapted embeddings as `base_layer` too; savers that know nothing of PEFT leave the
    adapter's name in (`.lora_A.default.weight`), and wrappers of training.
    """
    short = unwrap(name).removeprefix("module.").removeprefix(PREFIX)
    short = ADAPTER_NAME.sub(r"\1", short)
    return WRAPPED.sub(".", short.replace(SAVED, "."))
