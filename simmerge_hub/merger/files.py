"""The files beside the weights that from_pretrained needs, carried over and corrected."""

import json
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from typing import Any

from simmerge_hub.errors import AlignmentError, OutputError, RecipeError
from simmerge_hub.hub.digest import GENERATION_CONFIG
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.files.formats import CONFIG_KEYS
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger.kinds import Origin, carry_kinds, is_by_layer
from simmerge_hub.merger.layout import Layout
from simmerge_hub.recipe import RECIPE_FILE, Recipe
from simmerge_hub.weights.layers import LAYER_COUNTS, main_stack, parts
from simmerge_hub.weights.loaded.described import (
    refuse_misfits,
    refuse_undescribed,
    state_alike,
)
from simmerge_hub.weights.shapes import shapes
from simmerge_hub.weights.tokens.embeddings import OTHER_SIZE, other_tables, vocabulary_tensors
from simmerge_hub.weights.tokens.speech import TEMPLATE, TOKENIZER_CONFIG, end_token_id

TOKEN_IDS = re.compile(
    r"(.*_)?token_(id|ids|index)|(begin_)?suppress_tokens|(bad|force)_words_ids|(lang|task)_to_id"
)
"""Ids of tokens that a config states: those of the model whose tokenizer is taken."""
PAIRED_IDS = {"forced_decoder_ids": 1, "sequence_bias": 0}
"""Such that are said in pairs with other numbers: which of a pair they are."""
ENDS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Of those, what generation stops and fills up with."""
EXTRA_HEADS = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers")
"""What configs call the number of heads that predict further tokens, which slices leave out."""
CARRIED_FOLDERS = re.compile(r"additional_chat_templates|\d+_\w+")
"""Folders that a merge makes: chat templates, modules of sentence-transformers."""
DROPPED_KEYS = ("torch_dtype", "_name_or_path", *CONFIG_KEYS)
"""Of a config: an old name, a path, and how weights were stored before they were dequantised."""


def carry_over(layout: Layout, folder: Path) -> None:
    """Write config.json, the tokenizer and the other files of a model into `folder`."""
    main, chosen, words = layout.reference, layout.speaker, layout.vocabulary
    (folder / "config.json").write_text(_json(output_config(layout)), encoding="utf-8")
    carried = layout.carried
    _copy(main, carried.of_reference, folder)
    _copy(chosen, carried.of_speaker, folder)
    if carried.modules:
        _copy(carried.modules.model, carried.modules.files, folder)
    if chosen is not main:  # it states ids of special tokens
        _write_generation_config(layout, folder)
    for name, text in (words.files if words else {}).items():
        (folder / name).write_text(text, encoding="utf-8")
    if layout.recipe.chat_template:
        _write_template(layout.template, folder)


def _write_template(text: str, folder: Path) -> None:
    """Make it the only default template in a folder: in one file, as transformers writes it."""
    (folder / TEMPLATE).write_text(text, encoding="utf-8")
    for other in ("chat_template.json", "additional_chat_templates/default.jinja"):
        (folder / other).unlink(missing_ok=True)
    path = folder / TOKENIZER_CONFIG
    if path.is_file():
        stated = json.loads(path.read_bytes())
        if isinstance(stated, dict) and stated.pop("chat_template", None) is not None:
            path.write_text(_json(stated), encoding="utf-8")


def _write_generation_config(layout: Layout, folder: Path) -> None:
    """That of the model whose tokenizer is taken, or the reference's with that one's ids."""
    main, chosen, path = layout.reference, layout.speaker, folder / GENERATION_CONFIG
    if GENERATION_CONFIG in chosen.files:
        _copy(chosen, [GENERATION_CONFIG], folder)
    elif GENERATION_CONFIG in main.files:
        ids = _token_ids(chosen)
        known = {key: ids[key] for key in ENDS if key in ids}
        try:
            stated = json.loads(path.read_bytes())
            own = {**_renumber(stated, ids, _moved_ids(layout)), **known}
            path.write_text(_json(own), encoding="utf-8")
        except (ValueError, TypeError):  # no JSON object, as it was
            return


def output_config(layout: Layout) -> dict[str, Any]:
    """The reference's config with the dtype, vocabulary, layers and head of the output.

    `auto_map`, which makes transformers ask for trust_remote_code, stays only where the recipe
    says `custom_code: true`.
    """
    main = layout.reference
    config = _deep_copy(main.config)
    for part in parts(config):
        for key in DROPPED_KEYS:
            part.pop(key, None)
    config["dtype"] = layout.recipe.dtype
    if not layout.recipe.custom_code:
        config.pop("auto_map", None)
    if layout.vocabulary:
        before, _ = vocabulary_tensors(shapes(main), main.config)
        stay = other_tables(shapes(main), main.config, layout.vocabulary.tensors)
        _set_vocabulary(config, before, layout.vocabulary.size, {*stay.values()})
    if (chosen := layout.speaker) is not main:
        config = _renumber(config, _token_ids(chosen), _moved_ids(layout))
    if layout.alignment.untied:
        for part in parts(config):
            if "tie_word_embeddings" in part or part is config:
                part["tie_word_embeddings"] = False
    if layout.recipe.slices:
        _set_layers(config, layout)
    return config


def check_config(layout: Layout) -> Layout:
    """The layout, with a note if transformers passes over some of its tensors.

    Raises:
        RecipeError: the output's config or template cannot be told; before any weight is read.
        AlignmentError: the output's config is not that of its tensors, it would be loaded with
            parameters that it does not store, or layers of sentence-transformers differ.
    """
    config = output_config(layout)
    layout.carried  # noqa: B018
    if layout.recipe.chat_template:
        layout.template  # noqa: B018
    if layout.alignment.rejected:
        return layout
    main = layout.reference
    written = {name: shape for name, (_, shape) in layout.entries.items()}
    passed = refuse_undescribed(main, config, written, untied=layout.alignment.untied)
    return replace(layout, said=(*layout.said, *passed, *_note_misfits(layout)))


def _note_misfits(layout: Layout) -> list[str]:
    """Of models whose config states other numbers than the reference's: whether they are true."""
    main = layout.reference
    notes: list[str] = []
    for model in layout.checkpoints.values():
        if model.kind != "full" or state_alike(model.config, main.config):
            continue
        stored = shapes(model) | {name: header.shape for name, header in model.buffers.items()}
        try:
            notes += refuse_misfits(model.name, model.config, stored)
        except AlignmentError as error:  # it is the reference's config that is written
            notes.append(f"{error}; the output has the config of {main.name}")
    return notes


def _moved_ids(layout: Layout) -> Mapping[int, int]:
    """The id of a token in the reference -> that of the same token in the output."""
    words = layout.vocabulary
    rows = words.origins[layout.recipe.reference].tolist() if words else ()
    return {row: number for number, row in enumerate(rows) if row >= 0}


def _renumber(part: Mapping[str, Any], stated: Any, moved: Mapping[int, int]) -> dict[str, Any]:
    """A part of the reference's config, and all inside it, with ids of tokens as the output's
    tokenizer has them.

    They are what the model states whose tokenizer is taken, in the same part; of what it does not
    state, those that the same tokens have there.
    """
    theirs = stated if isinstance(stated, Mapping) else {}
    changed: dict[str, Any] = {}
    for key, value in part.items():
        if TOKEN_IDS.fullmatch(key):
            changed[key] = theirs[key] if key in theirs else _move(value, moved)
        elif key in PAIRED_IDS:
            changed[key] = theirs[key] if key in theirs else _move_paired(key, value, moved)
        elif isinstance(value, dict):
            changed[key] = _renumber(value, theirs.get(key), moved)
    return {**part, **changed}


def _move(value: Any, moved: Mapping[int, int]) -> Any:
    """Ids, alone, in lists and under names, as those of the same tokens."""
    if isinstance(value, list):
        return [_move(each, moved) for each in value]
    if isinstance(value, dict):
        return {name: _move(each, moved) for name, each in value.items()}
    return moved.get(value, value) if type(value) is int else value


def _move_paired(key: str, value: Any, moved: Mapping[int, int]) -> Any:
    if not isinstance(value, list):
        return value
    at = PAIRED_IDS[key]
    return [
        [_move(each, moved) if place == at else each for place, each in enumerate(pair)]
        if isinstance(pair, list)
        else pair
        for pair in value
    ]


def _token_ids(chosen: Checkpoint) -> Mapping[str, Any]:
    """The config that states ids of special tokens; of an adapter what its tokenizer says."""
    if chosen.kind == "full":
        return chosen.config
    end = end_token_id(chosen)
    return {} if end is None else {"eos_token_id": end}


def _copy(source: Checkpoint, names: Iterable[str], folder: Path) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        copyfile(local_file(source.location, name), folder / name)


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


def _deep_copy(config: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(config))


def _set_vocabulary(
    config: dict[str, Any], before: int | None, size: int, stay: Container[int | None]
) -> None:
    """Wherever the matched size is stated: at the top, or in the text model's part.

    `stay` are the rows of tables that have a row for each of the first tokens only.
    """
    for part in parts(config):
        keys = [k for k in part if OTHER_SIZE.fullmatch(k) and before not in stay]
        part |= {key: size for key in ["vocab_size", *keys] if part.get(key) == before}


def _set_layers(config: dict[str, Any], layout: Layout) -> None:
    """The number of layers, and lists with one entry for each of them (layer_types ...)."""
    if config.get("is_encoder_decoder"):
        raise RecipeError(
            f"{layout.reference.name} is an encoder-decoder: its two stacks cannot be sliced",
            hint="leave out `slices:`",
        )
    _, before = main_stack(shapes(layout.reference), layout.reference.config)
    after = sum(part.depth for part in layout.recipe.slices)
    counted = [(p, key) for p in parts(config) for key in LAYER_COUNTS if p.get(key) == before]
    text = [(part, key) for part, key in counted if "vocab_size" in part]
    if not counted:
        raise RecipeError(
            f"the config of {layout.reference.name} does not say how many layers it has: none of "
            f"{', '.join(LAYER_COUNTS)} is {before}",
            hint="leave out `slices:`",
        )
    for part, key in text or counted:  # a vision tower may have as many layers
        part[key] = after
        part |= _layer_lists(part, before, layout)
        part |= {key: 0 for key in EXTRA_HEADS if part.get(key)}
    part = (text or counted)[0][0]
    part |= carry_kinds(config, part, _origins(layout))


def _origins(layout: Layout) -> list[Origin]:
    """Where each layer of the output comes from: the first model that its slice names."""
    leaders = [next(iter(part.layers.items())) for part in layout.recipe.slices]
    return [
        Origin(_own_layers(layout, name), number)
        for name, span in leaders
        for number in range(*span)
    ]


def _own_layers(layout: Layout, name: str) -> Checkpoint:
    """The model whose config says what its layers are; an adapter's are its base's."""
    checkpoint = layout.checkpoints[name]
    return checkpoint if checkpoint.kind == "full" or not layout.base else layout.base


def _layer_lists(part: Mapping[str, Any], before: int, layout: Layout) -> dict[str, list[Any]]:
    numbers = [n for s in layout.recipe.slices for n in range(*next(iter(s.layers.values())))]
    return {
        key: [value[min(n, before - 1)] for n in numbers]
        for key, value in part.items()
        if is_by_layer(key, value, before, part)
    }


def check_output(recipe: Recipe, output: Path, overwrite: bool) -> None:
    """Refuse to replace what no merge made: --overwrite must not delete a folder of work.

    Raises:
        OutputError: `output` is one of the inputs, or is there already.
    """
    inputs = {s.folder.resolve() for s in recipe.sources if s.folder is not None}
    if output in inputs:
        raise OutputError(f"{output} is one of the inputs", hint="choose another folder")
    if not output.exists():
        return
    if not (output / RECIPE_FILE).is_file() and not _is_empty(output):
        raise OutputError(
            f"{output} exists already, and is not a folder that a merge made",
            hint="choose another folder, or delete it yourself",
        )
    if not overwrite:
        raise OutputError(
            f"{output} exists already", hint="choose another folder, or replace it: --overwrite"
        )
    inside = (path.name for path in output.iterdir() if path.is_dir())
    if folders := sorted(name for name in inside if not CARRIED_FOLDERS.fullmatch(name)):
        raise OutputError(
            f"{output} holds {folders[0]}, which no merge made and --overwrite would delete",
            hint="move it away, or choose another folder",
        )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
