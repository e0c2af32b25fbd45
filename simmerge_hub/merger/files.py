"""The files beside the weights that from_pretrained needs, carried over and corrected."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.files.formats import CONFIG_KEYS
from simmerge_hub.hub.files.ranges import local_file
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger.layout import Layout
from simmerge_hub.weights.layers import main_stack
from simmerge_hub.weights.stream import shapes
from simmerge_hub.weights.tokens.embeddings import vocabulary_tensors

CARRIED_FILES = re.compile(
    r"(generation_config|preprocessor_config|processor_config|video_preprocessor_config"
    r"|image_processor_config|feature_extractor_config)\.json"
    r"|(LICEN[SC]E|NOTICE|USE_POLICY)[^/]*"
)
CODE_FILES = re.compile(r"[A-Za-z_][\w]*\.py")
GENERATION_CONFIG = "generation_config.json"
SPECIAL_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Ids of tokens that a config states: those of the model whose tokenizer is taken."""
LAYER_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
"""What configs call the number of layers."""
DROPPED_KEYS = ("torch_dtype", "_name_or_path", *CONFIG_KEYS)
"""Of a config: an old name, a path, and how weights were stored before they were dequantised."""


def carry_over(layout: Layout, folder: Path) -> None:
    """Write config.json, the tokenizer and the other files of a model into `folder`."""
    main = layout.reference
    (folder / "config.json").write_text(_json(output_config(layout)), encoding="utf-8")
    names = [name for name in main.files if CARRIED_FILES.fullmatch(name)]
    if layout.recipe.custom_code:
        names += [name for name in main.files if CODE_FILES.fullmatch(name)]
    _copy(main, names, folder)
    words, chosen = layout.vocabulary, _tokenizer_source(layout)
    _copy(chosen, chosen.tokenizer_files, folder)
    if chosen is not main and GENERATION_CONFIG in chosen.files:  # it states ids of special tokens
        _copy(chosen, [GENERATION_CONFIG], folder)
    for name, text in (words.files if words else {}).items():
        (folder / name).write_text(text, encoding="utf-8")


def output_config(layout: Layout) -> dict[str, Any]:
    """The reference's config with the dtype, vocabulary, layers and head of the output.

    `auto_map`, which makes transformers ask for trust_remote_code, stays only where the recipe
    says `custom_code: true`.
    """
    main = layout.reference
    config = _deep_copy(main.config)
    for part in _parts(config):
        for key in DROPPED_KEYS:
            part.pop(key, None)
    config["dtype"] = layout.recipe.dtype
    if not layout.recipe.custom_code:
        config.pop("auto_map", None)
    if layout.vocabulary:
        before, _ = vocabulary_tensors(shapes(main), main.config)
        _set_vocabulary(config, before, layout.vocabulary.size)
    if (chosen := _tokenizer_source(layout)) is not main:
        for part, stated in _pair_parts(config, chosen.config):
            part |= {key: stated[key] for key in SPECIAL_TOKEN_IDS if key in part and key in stated}
    if layout.alignment.untied:
        for part in _parts(config):
            if "tie_word_embeddings" in part or part is config:
                part["tie_word_embeddings"] = False
    if layout.recipe.slices:
        _set_layers(config, layout)
    return config


def check_config(layout: Layout) -> None:
    """RecipeError if the output's config cannot be told; before any weight is read."""
    output_config(layout)


def _pair_parts(
    config: dict[str, Any], other: Mapping[str, Any]
) -> list[tuple[dict[str, Any], Mapping[str, Any]]]:
    """The config and another, and the parts inside both."""
    inside = [(v, other[k]) for k, v in config.items() if isinstance(v, dict) and k in other]
    return [(config, other), *((a, b) for a, b in inside if isinstance(b, Mapping))]


def _tokenizer_source(layout: Layout) -> Checkpoint:
    """The model whose tokenizer files, and so whose ids of tokens, the output has."""
    if layout.vocabulary:
        return layout.checkpoints[layout.vocabulary.source]
    named = layout.recipe.tokenizer
    return layout.reference if named in ("base", "union") else layout.checkpoints[named]


def _copy(source: Checkpoint, names: Iterator[str] | Any, folder: Path) -> None:
    for name in names:
        copyfile(local_file(source.location, name), folder / name)


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


def _deep_copy(config: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(config))


def _parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The config and those inside it: text_config, vision_config ..."""
    return [config, *(value for value in config.values() if isinstance(value, dict))]


def _set_vocabulary(config: dict[str, Any], before: int | None, size: int) -> None:
    """Wherever the matched size is stated: at the top, or in the text model's part."""
    for part in _parts(config):
        if part.get("vocab_size") == before:
            part["vocab_size"] = size


def _set_layers(config: dict[str, Any], layout: Layout) -> None:
    """The number of layers, and lists with one entry for each of them (layer_types ...)."""
    if config.get("is_encoder_decoder"):
        raise RecipeError(
            f"{layout.reference.name} is an encoder-decoder: its two stacks cannot be sliced",
            hint="leave out `slices:`",
        )
    _, before = main_stack(shapes(layout.reference))
    after = sum(part.depth for part in layout.recipe.slices)
    counted = [(p, key) for p in _parts(config) for key in LAYER_COUNTS if p.get(key) == before]
    text = [(part, key) for part, key in counted if "vocab_size" in part]
    for part, key in text or counted:  # a vision tower may have as many layers
        part[key] = after
        part |= _layer_lists(part, before, layout)
    if not counted:
        raise RecipeError(
            f"the config of {layout.reference.name} does not say how many layers it has: none of "
            f"{', '.join(LAYER_COUNTS)} is {before}",
            hint="leave out `slices:`",
        )


def _layer_lists(part: Mapping[str, Any], before: int, layout: Layout) -> dict[str, list[Any]]:
    numbers = [n for s in layout.recipe.slices for n in range(*next(iter(s.layers.values())))]
    return {
        key: [value[min(n, before - 1)] for n in numbers]
        for key, value in part.items()
        if isinstance(value, list) and len(value) == before
    }
