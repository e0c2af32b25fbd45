"""adapter_config.json of a LoRA, checked; and its patterns, matched in linear time.

What PEFT would refuse to load is refused here by name. Patterns are regular expressions that a
stranger wrote: RE2 matches them, which takes time in proportion to a name's length, and only those
that mean the same to it as to Python's `re`.
"""

import re
import reprlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import re2

from simmerge_hub.errors import CheckpointError

BIASES = ("none", "all", "lora_only")
LARGEST_ALPHA = 1e9
MOST_PATTERNS = 10_000
LONGEST_PATTERN = 1000
"""Characters."""
SEEN_OTHERWISE = re.compile(r"\{,|\[\[:|\\[pPCQE]")
"""What Python and RE2 both take, and each as something else."""
KNOWN = {
    "alora_invocation_tokens", "alpha_pattern", "arrow_config", "auto_mapping",
    "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying", "eva_config",
    "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "kasa_config",
    "layer_replication", "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha",
    "lora_bias", "lora_dropout", "lora_ga_config", "megatron_config", "megatron_core",
    "modules_to_save", "monteclora_config", "peft_type", "peft_version", "qalora_group_size", "r",
    "rank_pattern", "revision", "runtime_config", "target_modules", "target_parameters",
    "task_type", "trainable_token_indices", "use_bdlora", "use_dora", "use_qalora", "use_rslora",
    "velora_config",
}  # fmt: skip
"""Settings of a LoRA in PEFT 0.21; a newer one may have more, which an older one ignores."""


def check_settings(name: str, config: Mapping[str, Any]) -> None:
    """Refuse values that are of no kind, or out of the range, that PEFT reads.

    Args:
        name: what to call the adapter.
        config: its adapter_config.json, of peft_type LORA.

    Raises:
        CheckpointError: the setting is named.
    """
    for key, (holds, kind) in KINDS.items():
        if key in config and not holds(config[key]):
            raise _error(name, f"{key} is {reprlib.repr(config[key])}, and must be {kind}")
    for key in ("alpha_pattern", "rank_pattern"):
        for pattern in config.get(key) or ():
            try:
                _compile(pattern)
            except ValueError as error:
                raise _error(name, f"{key} has {reprlib.repr(pattern)}: {error}") from None


def unknown_settings(config: Mapping[str, Any]) -> list[str]:
    """Settings of a newer PEFT that say something; they are not followed, as in PEFT itself."""
    return sorted(key for key, value in config.items() if value and key not in KNOWN)


def match_pattern(patterns: Mapping[str, float] | None, module: str, default: float) -> float:
    """PEFT's rule: the first key that the module's name ends with, as a regular expression.

    Raises:
        CheckpointError: a pattern that is none, or a name that RE2 and `re` see differently.
    """
    if patterns and not module.isascii():
        raise _error("an adapter", f"it has patterns, and {ascii(module)[:100]} is not ASCII")
    for pattern, value in (patterns or {}).items():
        try:
            if _compile(pattern).fullmatch(module):
                return value
        except ValueError as error:
            raise _error("an adapter", f"{reprlib.repr(pattern)}: {error}") from None
    return default


@lru_cache(maxsize=2 * MOST_PATTERNS)
def _compile(pattern: str) -> Any:
    """`(.*\\.)?(pattern)` for RE2; ValueError saying why not."""
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"a pattern of {len(pattern):,} characters")
    if not pattern.isascii() or SEEN_OTHERWISE.search(pattern):
        raise ValueError("not all programs read it as the same pattern")
    options = re2.Options()
    options.log_errors = False
    try:
        re.compile(pattern)  # only read; what PEFT could not read either is refused
        return re2.compile(rf"(.*\.)?({pattern})", options)
    except (re.error, re2.error, OverflowError, RecursionError) as error:
        said = error.args[0] if error.args else error
        said = said.decode(errors="replace") if isinstance(said, bytes) else said
        raise ValueError(f"it is no regular expression that ends in time ({said})") from None


def _is_number(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and abs(value) <= LARGEST_ALPHA


def _is_rank(value: Any) -> bool:
    return type(value) is int and 1 <= value <= LARGEST_ALPHA


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _are_names(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list) and all(isinstance(v, str) for v in value))


def _are_layers(value: Any) -> bool:
    layers = value if isinstance(value, list) else [value]
    return value is None or all(type(n) is int for n in layers)


def _maps_to(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if value is None:
            return True
        small = isinstance(value, dict) and len(value) <= MOST_PATTERNS
        return small and all(map(holds, value.values()))

    return check


KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "r": (_is_rank, "a whole number from 1"),
    "lora_alpha": (_is_number, "a finite number"),
    "alpha_pattern": (_maps_to(_is_number), "an object of patterns and finite numbers"),
    "rank_pattern": (_maps_to(_is_rank), "an object of patterns and whole numbers from 1"),
    "bias": (lambda value: value in BIASES, f"one of {', '.join(BIASES)}"),
    "target_modules": (_are_names, "a text or a list of texts"),
    "exclude_modules": (_are_names, "a text or a list of texts"),
    "layers_pattern": (_are_names, "a text or a list of texts"),
    "modules_to_save": (
        lambda value: _are_names(value) and not isinstance(value, str),
        "a list of texts",
    ),
    "layers_to_transform": (_are_layers, "a whole number or a list of them"),
    "base_model_name_or_path": (_is_text, "a text"),
    "revision": (_is_text, "a text"),
    "task_type": (_is_text, "a text"),
    "init_lora_weights": (lambda value: _is_flag(value) or _is_text(value), "a flag or a text"),
    **dict.fromkeys(("use_rslora", "use_dora", "fan_in_fan_out"), (_is_flag, "true or false")),
}  # fmt: skip
"""Setting -> whether a value is one PEFT reads, and what it must be, for messages."""


def _error(name: str, seen: str) -> CheckpointError:
    return CheckpointError(
        f"the adapter_config.json of {name} cannot be believed: {seen}",
        hint="correct it in a copy of the adapter, or ask its author",
    )
