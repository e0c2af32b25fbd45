"""How a checkpoint says that it generates: beside its config, and no part of its digest."""

import hashlib
import json
import re
from typing import Any

from simmerge_hub.documents import DocumentError, read_json_object
from simmerge_hub.hub.digest import digest
from simmerge_hub.hub.files.cached import read_text
from simmerge_hub.hub.resolve import Checkpoint

GENERATION_CONFIG = "generation_config.json"
SAYS_NOTHING = re.compile(
    r"_.*|transformers_version|(bos|pad)_token_id|use_cache|(output|return)_.*"
)
"""Keys of it that change no answer."""
ENDS = "eos_token_id"
"""The key of the tokens that end an answer."""


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


def answering_digest(model: Checkpoint) -> str:
    """What scores of a model follow from, as sha256: its content and how it says that it generates.

    Its `digest` where it says nothing of that beside its config.
    """
    content, said = digest(model), stated_generation(model)
    if not said:
        return content
    return hashlib.sha256(f"{content} {json.dumps(said, sort_keys=True)}".encode()).hexdigest()
