"""What a checkpoint is by its content: equal content, equal digest, wherever it lies.

How a model says that it generates is beside its content, and counts only where answers do.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from blake3 import blake3

from simmerge_hub.documents import DocumentError, read_json_object
from simmerge_hub.hub.files.cached import local_file, read_text
from simmerge_hub.hub.files.hashes import hash_path
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.hub.weight_files import CONFIGS

SCALING = ("r", "lora_alpha", "use_rslora", "alpha_pattern", "rank_pattern")
"""What in an adapter's config scales its deltas."""
GENERATION_CONFIG = "generation_config.json"
SAYS_NOTHING = re.compile(
    r"_.*|transformers_version|(bos|pad)_token_id|use_cache|(output|return)_.*"
)
"""Keys of it that change no answer."""
ENDS = "eos_token_id"
"""The key of the tokens that end an answer."""


def digest(checkpoint: Checkpoint) -> str:
    """sha256 over the weight, config and tokenizer files: equal content, equal digest.

    Files in subfolders and hidden ones do not count: a folder's listing has neither. The
    Hub states the sha256 of large files; small ones are fetched, and a folder's files are read.
    A checkpoint stored in .bin files counts as it is stored, not as it is converted.
    """
    parts = (f"{name} {file_sha256(checkpoint, name)}\n" for name in _counted_files(checkpoint))
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def stated_generation(model: Checkpoint) -> dict[str, Any]:
    """What its `generation_config.json` says of answers, and its config does not say as well.

    Of an adapter nothing: it generates as its base does. Of one that cannot be read: its text.
    """
    if model.kind == "adapter":
        return {}
    text = read_text(model.location, model.files, GENERATION_CONFIG)
    try:
        stated = read_json_object(text or "{}")
    except DocumentError:
        return {GENERATION_CONFIG: text}
    return {
        key: value
        for key, value in stated.items()
        if not SAYS_NOTHING.fullmatch(key) and model.config.get(key) != value
    }


def end_tokens(model: Checkpoint) -> list[int]:
    """The ids of the tokens that end its answers, by its files; [] where they state none."""
    inner = model.config.get("text_config")
    places = (stated_generation(model), model.config, inner if isinstance(inner, dict) else {})
    stated = next((each[ENDS] for each in places if each.get(ENDS) is not None), None)
    return [id for id in (stated if isinstance(stated, list) else [stated]) if type(id) is int]


def answering_digest(model: Checkpoint) -> str:
    """What scores of a model follow from, as sha256: its content and how it says that it generates.

    Its `digest` where it says nothing of that beside its config.
    """
    content, said = digest(model), stated_generation(model)
    if not said:
        return content
    return hashlib.sha256(f"{content} {json.dumps(said, sort_keys=True)}".encode()).hexdigest()


def folder_digest(checkpoint: Checkpoint) -> str:
    """What a recipe knows a folder by: `blake3:` and BLAKE3 over the same files as `digest`.

    It costs a quarter of the time, and for a folder nobody states a sha256.
    """
    hashes = {
        name: hash_path(local_file(checkpoint.location, name), "blake3")
        for name in _counted_files(checkpoint)
    }
    text = "".join(f"{name} {file_hash}\n" for name, file_hash in hashes.items())
    return f"blake3:{blake3(text.encode()).hexdigest()}"


def hash_together(checkpoints: Iterable[Checkpoint]) -> None:
    """Hash the weight files of several folders at once, a file a core, for `folder_digest`."""
    waiting = {
        (checkpoint.location, name)
        for checkpoint in checkpoints
        if checkpoint.ref.folder is not None
        for name in _counted_files(checkpoint)
    }
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda file: hash_path(local_file(*file), "blake3"), waiting))


def file_sha256(checkpoint: Checkpoint, name: str) -> str:
    """The sha256 of one of its files: what the Hub states, or that of the file here."""
    stated = checkpoint.files[name].sha256
    return stated or hash_path(local_file(checkpoint.location, name), "sha256")


def weights_of(checkpoint: Checkpoint) -> tuple[object, ...]:
    """Of two repositories, or two folders, equal if they hold the same weight files.

    Of adapters what scales their deltas counts too. The Hub states the sha256 of large files; small
    ones, which it keeps in git, are fetched whole. A folder's are read, and known by BLAKE3, so
    that a folder never equals a repository.
    """
    hashes = tuple(
        checkpoint.files[name].sha256 or hash_path(local_file(checkpoint.location, name), "blake3")
        for name in checkpoint.weight_files
    )
    scale = [str(checkpoint.config.get(key) or "") for key in SCALING]
    return (checkpoint.kind, hashes, *(scale if checkpoint.kind == "adapter" else ()))


def _counted_files(checkpoint: Checkpoint) -> list[str]:
    """The files that make a checkpoint what it is."""
    return sorted(
        name
        for name in checkpoint.files
        if "/" not in name
        and not name.startswith(".")
        and (
            name in CONFIGS.values()
            or name.endswith(".safetensors")
            or name in checkpoint.pickles
            or name in checkpoint.tokenizer_files
        )
    )
