"""The model of a config without weights: what its parameters are called, and which are tied.

Only classes of transformers are made, never code that came with a checkpoint.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from logging import CRITICAL
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

COUNTS = re.compile(r".*(layer|block|expert|depth|stage|group|head|codebook)s?(_.*)?")
"""Keys of a config that say how many modules there are."""
TIED = "tie_word_embeddings"
FLOATS = {name: float(name) for name in ("Infinity", "-Infinity", "NaN")}
"""Numbers that JSON lacks: transformers writes {"__float__": "Infinity"}."""
ERROR_CLASS = re.compile(r"^\w+Error: ")
"""What transformers says before a reason."""
LARGEST_COUNT = 2048
"""No model has more modules of a kind than this."""
LABELS, LARGEST_LABELS = "num_labels", 100_000
"""A name is made for each of as many labels as a config states."""
REASON_SHOWN = 200
"""Characters of what transformers says of a config."""


def build_empty(config: Mapping[str, Any]) -> PreTrainedModel | None:
    """The model that transformers makes of a config, on the device "meta".

    Args:
        config: a config.json; its `architectures` names the class.

    Returns:
        The model; None if transformers has no such class or cannot make it.
    """
    return _build(json.dumps(config, sort_keys=True, default=str))


def read_refusal(config: Mapping[str, Any]) -> str:
    """Why transformers makes no model of a config whose kind it knows; "" if it does, and of one
    that is not given to it: it would make lists of any length that a config states.

    Args:
        config: a config.json.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        return ""
    if "auto_map" in config or not _is_small(config):
        return ""
    try:
        with silence():
            read_config(config)
            if config.get("architectures"):
                _instantiate(dict(config))
    except ImportError:  # of a library that this kind of model needs, and that is not here
        return ""
    except Exception as error:  # whatever others wrote into a config
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return ERROR_CLASS.sub("", lines[-1].strip())[:REASON_SHOWN]
    return ""


def read_config(config: Mapping[str, Any]) -> PreTrainedConfig:
    """A config as transformers reads it from a file; it raises whatever transformers raises.

    Args:
        config: a config.json.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    stated = json.loads(json.dumps(config, default=str), object_hook=_read_float)
    return CONFIG_MAPPING[stated["model_type"]].from_dict(stated)


def _read_float(value: dict[str, Any]) -> Any:
    tag = value.get("__float__")
    return FLOATS.get(tag, value) if len(value) == 1 and isinstance(tag, str) else value


def tie_groups(model: PreTrainedModel) -> list[list[str]]:
    """The names of parameters that are one, each with those of the others; the main one first."""
    groups: dict[str, list[str]] = {}
    for other, main in model.all_tied_weights_keys.items():
        groups.setdefault(main, [main]).append(other)
    return list(groups.values())


def find_embedding(model: PreTrainedModel) -> str | None:
    """The parameter that has a row for each token that goes in; None if there is no such table."""
    from torch.nn import Embedding

    try:
        table = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):  # a model of pictures or sounds
        return None
    if not isinstance(table, Embedding):
        return None
    found = (name for name, module in model.named_modules() if module is table)
    return next((f"{name}.weight" for name in found), None)


def part_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config that ties nothing, so far as configs of its kind can say so."""
    parts = {
        k: part_config(v) if isinstance(v, dict) and TIED in v else v for k, v in config.items()
    }
    return {**parts, TIED: False}


@lru_cache(8)
def _build(text: str) -> PreTrainedModel | None:
    config = json.loads(text)
    if not _is_small(config):
        return None
    try:
        with silence():
            return _instantiate(config)
    except Exception:  # whatever others wrote into a config: then there is no such model
        return None


def _instantiate(config: dict[str, Any]) -> PreTrainedModel | None:
    import torch
    import transformers

    (name, *_) = config["architectures"]
    kind = getattr(transformers, name, None)
    if not isinstance(kind, type) or not issubclass(kind, transformers.PreTrainedModel):
        return None
    stated = read_config(config)
    with torch.device("meta"):
        return kind(stated)


def _is_small(config: Mapping[str, Any]) -> bool:
    """Whether a config has no more modules and labels than are made in a moment."""
    return all(
        count <= (LARGEST_LABELS if key == LABELS else LARGEST_COUNT)
        for key, count in _counts(config)
    )


def _counts(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """How many modules or labels there are, with the key that says so; of stages those of each."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _counts(value)
            continue
        values = value if isinstance(value, list) else [value]
        if key == LABELS or (COUNTS.fullmatch(key) and not key.endswith(("_dim", "_size"))):
            yield from ((key, count) for count in values if type(count) is int)


@contextmanager
def silence() -> Iterator[None]:
    """Nothing is loaded: what transformers says of a config is of no use here."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
