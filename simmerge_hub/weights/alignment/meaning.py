"""What configs say about the same weights: a head count or an activation changes their meaning.

Shapes may agree where meanings do not: 4 heads of 8 and 2 heads of 16 have the same matrices.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from simmerge_hub.hub.resolve import Checkpoint

DECISIVE = ("model_type", "num_attention_heads", "n_head", "num_key_value_heads", "head_dim",
            "num_experts_per_tok")  # fmt: skip
"""Settings with which weights of another value cannot be merged."""
TELLING = ("rope_theta", "rope_scaling", "rope_parameters", "hidden_act", "hidden_activation",
           "sliding_window", "rms_norm_eps", "layer_norm_eps")  # fmt: skip
"""Settings that may differ, but of which the output can have one value only."""


def conflicts(reference: Checkpoint, model: Checkpoint) -> list[str]:
    """Why a model's config forbids merging it with the reference: "says num_attention_heads 4"."""
    return [
        f"says {key} {_shorten(said)}, in {reference.name} {_shorten(wanted)}"
        for key, wanted, said in _differences(reference.config, model.config, DECISIVE)
    ]


def differences(reference: Checkpoint, model: Checkpoint) -> list[str]:
    """Sentences about settings of a model that the output will not have."""
    return [
        f"{model.name} has {key} {_shorten(said)}; the output has {_shorten(wanted)} of "
        f"{reference.name}"
        for key, wanted, said in _differences(reference.config, model.config, TELLING)
    ]


def _differences(
    reference: Mapping[str, Any], model: Mapping[str, Any], keys: tuple[str, ...]
) -> Iterator[tuple[str, Any, Any]]:
    """Keys that both state differently, at the top and in the parts of either kind."""
    for key in keys:
        if key in reference and key in model and not _agree(reference[key], model[key]):
            yield key, reference[key], model[key]
    for name, part in reference.items():
        other = model.get(name)
        if name.endswith("_config") and isinstance(part, dict) and isinstance(other, dict):
            for key, wanted, said in _differences(part, other, keys):
                yield f"{name}.{key}", wanted, said


def _agree(one: Any, other: Any) -> bool:
    if one is None or other is None:  # a default that only one of them spells out
        return True
    return bool(one == other)


def _shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
