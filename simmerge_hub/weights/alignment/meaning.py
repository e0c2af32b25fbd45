"""What configs say about the same weights: a head count or an activation changes their meaning.

Shapes may agree where meanings do not: 4 heads of 8 and 2 heads of 16 have the same matrices. A
setting may be written under an old key or a new one, or be left at the default of the model type:
where texts differ, configs are compared as transformers reads them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from simmerge_hub.hub.files.cached import read_stated_object
from simmerge_hub.hub.files.formats import CONFIG_KEYS
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.layers import LAYER_COUNTS, layer_of
from simmerge_hub.weights.loaded.model import read_config, silence
from simmerge_hub.weights.tokens.embeddings import OTHER_SIZE

DECISIVE = re.compile(
    r"model_type|num_experts_per_tok|is_decoder|d_kv|(.*_)?head_dim|n_head"
    r"|(.*_)?(n|num|encoder|decoder)_((attention|key|value|kv|key_value|query)_)?heads"
)
"""Settings with which weights of another value cannot be merged."""
ELSEWHERE = {*CONFIG_KEYS, *LAYER_COUNTS, "vocab_size", "tie_word_embeddings", "id2label",
             "label2id", "num_labels", "tokenizer_class"}  # fmt: skip
"""Settings that are compared where what they are about is matched."""
HARMLESS = re.compile(
    r"_.*|architectures|auto_map|(torch_)?dtype|transformers_version|name_or_path|use_cache"
    r"|.*drop(out|path)?(_.*)?|.*_pdrop|.*initializer.*|.*init_(std|range|factor|scale)|.*token_ids?"
    r"|problem_type|finetuning_task|output_.*|return_.*|router_aux_loss_coef|pretraining_tp"
    r"|gradient_checkpointing|.*attn_implementation|task_specific_params|torchscript|prefix"
    r"|use_return_dict|chunk_size_feed_forward|unsloth_.*|model_name|.*_path|language"
)
"""Settings that say how a model is trained, stored or run, not what its weights compute."""
PASSED_OVER = (HARMLESS, OTHER_SIZE)
"""Sizes of further tables of embeddings are compared with those tables."""
PREPARED = ("preprocessor_config.json", "video_preprocessor_config.json",
            "image_processor_config.json", "feature_extractor_config.json")  # fmt: skip
"""Files that say how pictures and sounds become numbers."""
NAMING = re.compile(r"_.*|.*processor_(class|type)|feature_extractor_type|transformers_version")
"""What they say that computes nothing."""
LABEL_HEAD = re.compile(r".*(classif|score|head|out_proj|outputs|logits|cls|v_proj).*")
UNNAMED_LABEL = re.compile(r"LABEL_\d+")


def conflicts(reference: Checkpoint, model: Checkpoint) -> list[str]:
    """Why a model's config forbids merging it with the reference: "says num_attention_heads 4"."""
    return [
        f"says {key} {_shorten(said)}, in {reference.name} {_shorten(wanted)}"
        for key, wanted, said in _all_differences(reference, model)
        if DECISIVE.fullmatch(key.rpartition(".")[2]) and None not in (wanted, said)
    ]


def differences(reference: Checkpoint, model: Checkpoint) -> list[str]:
    """Sentences about settings of a model that the output will not have."""
    return [
        f"{model.name} has {key} {_shorten(said)}; the output has {_shorten(wanted)} of "
        f"{reference.name}"
        for key, wanted, said in _all_differences(reference, model)
        if not DECISIVE.fullmatch(key.rpartition(".")[2])
    ]


def input_differences(reference: Checkpoint, model: Checkpoint) -> list[str]:
    """Sentences about pictures and sounds that a model was fed otherwise than the output is."""
    sentences = []
    for name in PREPARED:
        wanted, said = _read_prepared(reference, name), _read_prepared(model, name)
        apart = [key for key in {**wanted, **said} if wanted.get(key) != said.get(key)]
        if said and apart:
            sentences.append(
                f"{model.name} has {apart[0]} {_shorten(said.get(apart[0]))} in {name}; the output "
                f"has {_shorten(wanted.get(apart[0]))} of {reference.name}"
            )
    return sentences


def _read_prepared(model: Checkpoint, name: str) -> dict[str, Any]:
    """What a file of a model says of its inputs; {} if there is none, or none that can be read."""
    stated = read_stated_object(model.location, model.files, name)
    return {key: value for key, value in stated.items() if not NAMING.fullmatch(key)}


def label_conflicts(models: Mapping[str, Checkpoint]) -> Iterator[tuple[str, str]]:
    """Models whose head has its labels in another order than the first that names any; and why."""
    first, wanted = "", {}
    for name, model in models.items():
        labels = _labels(model)
        if labels and not wanted:
            first, wanted = name, labels
        other = next((n for n in labels if labels[n] != wanted.get(n, labels[n])), None)
        if other is not None:
            yield name, f"says label {other} is {labels[other]!r}, in {first} {wanted[other]!r}"


def _labels(model: Checkpoint) -> dict[str, str]:
    """Row of a head -> the label a config gives it; {} without such a head, or without names."""
    stated = model.config.get("id2label")
    labels = {str(n): str(label) for n, label in stated.items()} if isinstance(stated, dict) else {}
    headed = any(
        h.shape and h.shape[0] == len(labels) and layer_of(n) is None and LABEL_HEAD.fullmatch(n)
        for n, h in model.tensors.items()
    )
    named = any(not UNNAMED_LABEL.fullmatch(label) for label in labels.values())
    return labels if headed and named else {}


def _all_differences(reference: Checkpoint, model: Checkpoint) -> list[tuple[str, Any, Any]]:
    """Settings that differ: (key, the reference's, the model's)."""
    if not list(_differences(reference.config, model.config, stated=False)):
        return []
    read = [_read(checkpoint.config) for checkpoint in (reference, model)]
    if read[0] is None or read[1] is None:
        return list(_differences(reference.config, model.config, stated=True))
    return list(_differences(read[0], read[1], stated=False))


def _read(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """A config as transformers reads it, with all defaults; None if it cannot."""
    try:
        with silence():
            return read_config(config).to_dict()
    except Exception:  # whatever others wrote into a config
        return None


def _differences(
    reference: Mapping[str, Any], model: Mapping[str, Any], *, stated: bool
) -> Iterator[tuple[str, Any, Any]]:
    """At the top and in the parts of either kind; `stated`: only what both state."""
    for key in dict.fromkeys([*reference, *model]):
        wanted, said = reference.get(key), model.get(key)
        if wanted == said or key in ELSEWHERE or any(p.fullmatch(key) for p in PASSED_OVER):
            continue
        if key.endswith("_config") and isinstance(wanted, dict) and isinstance(said, dict):
            for inner, *values in _differences(wanted, said, stated=stated):
                yield f"{key}.{inner}", values[0], values[1]
        elif stated and (wanted is None or said is None):
            continue  # a default that only one of them spells out
        elif not _is_by_layer(wanted, said):
            yield key, wanted, said


def _is_by_layer(one: Any, other: Any) -> bool:
    """Lists of other lengths, as models of other depths have them."""
    return isinstance(one, list) and isinstance(other, list) and len(one) != len(other)


def _shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
