"""Small models of every kind that transformers knows: its own config, with widths and counts cut.

No kind is named here. A config's numbers are told apart by what they are called; several cuts are
tried until transformers makes a model that is small enough.
"""

import copy
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

LAYERS, LAYERS_ALL = (2, 4, 3, 6), 10**6
RATIOS = (16, 8, 4, 1)
"""Widths are divided by one of these."""
MOST = 30_000_000
"""Parameters of a model that is small enough."""
VOCABULARY, CODEBOOK, POSITIONS, EXPERTS, CHOSEN = 96, 64, 512, 4, 2
COUNT = re.compile(
    r"(.*_)?(num|n)_(.*_)?(layer|layers|blocks)|n_block.*|num_blocks.*|num_layers|.*_layers|"
    r"layers|(.*_)?depths?"
)
WIDTH = re.compile(
    r".*(size|dim|dims|width|channels|hidden|embd|ffn|inner|model|rank|filters|features|sizes)|"
    r".*_dim_.*|d_ff|d_kv|n_inner|.*_d_head|.*_headdim"
)
NO_WIDTH = re.compile(
    r".*(image_size|patch|vocab|chunk|window|block_size|kernel|stride|max_|position|mel_bins|"
    r"sampling|merge_size|pool|crop|grid|group|input_size|codebook|batch|sample|temporal).*"
)
TOKEN = re.compile(r".*(token_id|token_ids|token_index)|pad_idx")
EXPERT = re.compile(r"(num|n)_(local_|routed_)?experts|moe_num_experts")
CHOICE = re.compile(r"num_experts_per_tok(en)?|moe_top_?k|top_k_experts|moe_k")
CHOICES = ("ForCausalLM", "LMHead", "ForConditionalGeneration", "For", "With", "Model")
"""One class of a kind is made: the one that generates text, if there is one."""


LEFT_OUT = ("transformers_version", "architectures", "per_layer_config")
GIVEN: dict[str, dict[str, Any]] = {
    "prediction_length": {"prediction_length": 4},
    "is_decoder": {"is_decoder": True},
}
"""What a kind whose error names this key needs, and has no default of."""


def list_kinds() -> dict[str, type[PreTrainedModel]]:
    """model_type -> the class of it that is made."""
    found: dict[str, list[type[PreTrainedModel]]] = {}
    for name in dir(transformers):
        made = getattr(transformers, name, None) if name[:1].isupper() else None
        if (
            isinstance(made, type)
            and issubclass(made, PreTrainedModel)
            and getattr(made, "config_class", None)
            and not name.endswith("PreTrainedModel")
        ):
            found.setdefault(made.config_class.model_type, []).append(made)
    return {kind: min(classes, key=_preference) for kind, classes in sorted(found.items())}


def _preference(made: type) -> tuple[int, str]:
    name = made.__name__
    return next((i for i, part in enumerate(CHOICES) if part in name), 9), name


def make_small(made: type[PreTrainedModel], seed: int) -> PreTrainedModel:
    """A small model of a class, with its own random weights, or what transformers says of the
    first cut of its config."""
    first: Exception | None = None
    given: dict[str, Any] = {}
    for config in _small_configs(made):
        config |= given
        try:
            with torch.device("meta"):
                empty = made(made.config_class.from_dict(copy.deepcopy(config)))
            if sum(p.numel() for p in empty.parameters()) > MOST:
                continue
            torch.manual_seed(seed)
            return made(made.config_class.from_dict(config))
        except Exception as error:  # a cut that does not fit together
            first = first or error
            given |= next((more for key, more in GIVEN.items() if key in str(error)), {})
    raise first or RuntimeError(f"no cut of it has under {MOST:,} parameters")


def _small_configs(made: type[PreTrainedModel]) -> Iterator[dict[str, Any]]:
    whole = _plain(made.config_class().to_dict())
    for layers in (*LAYERS, LAYERS_ALL):
        for ratio in RATIOS:
            for derive in (True, False):
                yield _cut(copy.deepcopy(whole), layers, ratio, derive)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    return {
        k: _plain(v) if isinstance(v, dict) else v
        for k, v in config.items()
        if not str(k).startswith("_") and k not in LEFT_OUT
    }


def _cut(config: dict[str, Any], layers: int, ratio: int, derive: bool) -> dict[str, Any]:
    """Cut a config in place; lists with an entry a layer are left out, or cut as well."""
    names = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
    depth = next((config[k] for k in names if isinstance(config.get(k), int)), 0)
    for key in list(config):
        value = config[key]
        if not isinstance(key, str) or key in ("id2label", "label2id"):
            continue
        if key.startswith("rope") and isinstance(value, dict):
            if section := value.get("mrope_section"):
                value["mrope_section"] = [x // ratio for x in section]
        elif isinstance(value, dict):
            _cut(value, layers, ratio, derive)
        elif isinstance(value, list) and depth > layers and len(value) == depth:
            if derive:
                del config[key]
            else:
                config[key] = value[: layers // 2] + value[-(layers - layers // 2) :]
        elif key.startswith("num_kv_shared") and isinstance(value, int):
            config[key] = 0 if layers < LAYERS[-1] else 2
        elif TOKEN.fullmatch(key) and isinstance(value, int) and value >= VOCABULARY:
            config[key] = 5
        else:
            config[key] = _cut_value(key, value, layers, ratio)
    return config


def _cut_value(key: str, value: Any, layers: int, ratio: int) -> Any:
    """One value, cut by what it is called."""
    if isinstance(value, (list, tuple)) and value and all(type(x) is int for x in value):
        if "depth" in key or "layers" in key or "blocks" in key:
            return type(value)(min(x, layers) for x in value)
        wide = WIDTH.fullmatch(key) and not NO_WIDTH.fullmatch(key)
        if wide and all(x % ratio == 0 for x in value):
            return type(value)(x // ratio for x in value)
        return value
    if type(value) is not int:
        return value
    for pattern, most in (
        (r".*vocab_size.*", VOCABULARY),
        (r".*codebook_size", CODEBOOK),
        (r"max_position_embeddings|n_positions|n_ctx|max_.*positions", POSITIONS),
        (EXPERT, EXPERTS),
        (CHOICE, CHOSEN),
        (r"n_group|topk_group", 1),
    ):
        if re.fullmatch(pattern, key):
            return min(value, most)
    if COUNT.fullmatch(key) and "drop" not in key:
        return min(value, layers)
    if WIDTH.fullmatch(key) and not NO_WIDTH.fullmatch(key) and value >= 4 * ratio:
        return value // ratio if value % ratio == 0 else value
    return value


def silence() -> None:
    """Nothing of what transformers says about unusual configs."""
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity(50)
    transformers.utils.logging.disable_progress_bar()
