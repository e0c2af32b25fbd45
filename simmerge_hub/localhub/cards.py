"""What the Hub reads off a repository's files: the README's YAML front matter, the config, the
weights.

From these come the tags, library, task and base models that a repository is listed and found under.
Pure functions on text and names; knows nothing about requests or storage.
"""

import reprlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from simmerge_hub.documents import DocumentError, plain, read_yaml, split_card

TEXT, LIST, TEXT_OR_LIST = (str,), (list,), (str, list)
SCHEMA: dict[str, tuple[type, ...]] = {
    "base_model": TEXT_OR_LIST,
    "base_model_relation": TEXT,
    "datasets": TEXT_OR_LIST,
    "language": TEXT_OR_LIST,
    "library_name": TEXT,
    "license": TEXT_OR_LIST,
    "metrics": TEXT_OR_LIST,
    "model-index": LIST,
    "pipeline_tag": TEXT,
    "tags": LIST,
}
TASKS = {
    "CausalLM": "text-generation",
    "ConditionalGeneration": "text2text-generation",
    "MaskedLM": "fill-mask",
    "SequenceClassification": "text-classification",
    "TokenClassification": "token-classification",
    "QuestionAnswering": "question-answering",
}


class InvalidCard(ValueError):
    """The front matter cannot be understood."""


@lru_cache(maxsize=128)
def front_matter(readme: str) -> dict[str, Any]:
    """The metadata at the top of a README as JSON values, or nothing; InvalidCard when broken."""
    try:
        card = read_yaml(split_card(readme)[0])
    except DocumentError as error:
        raise InvalidCard(f"the metadata is not valid YAML: {error}") from None
    if not isinstance(card or {}, dict):
        raise InvalidCard("the metadata must be a mapping of keys to values")
    return plain(card or {})


def check(readme: str) -> list[str]:
    """What is wrong with a README's metadata, one message each."""
    try:
        card = front_matter(readme)
    except InvalidCard as error:
        return [str(error)]
    wrong = [
        key for key, types in SCHEMA.items() if not isinstance(card.get(key, types[0]()), types)
    ]
    return [
        f'"{key}" must be {_type_names(SCHEMA[key])}, not {reprlib.repr(card[key])}'
        for key in wrong
    ]


def safe_front_matter(readme: str) -> dict[str, Any]:
    """`front_matter`, or nothing when it is broken: a bad card must not hide a repository."""
    try:
        return front_matter(readme)
    except InvalidCard:
        return {}


def library(card: Mapping[str, Any], files: Iterable[str], config: Mapping[str, Any]) -> str | None:
    """The library that loads the model: named by the card, else guessed from its files."""
    if isinstance(card.get("library_name"), str) and card["library_name"]:
        return card["library_name"]
    if "adapter_config.json" in files:
        return "peft"
    return "transformers" if "model_type" in config else None


def task(card: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """The task of a model: named by the card, else guessed from its architecture."""
    if isinstance(card.get("pipeline_tag"), str) and card["pipeline_tag"]:
        return card["pipeline_tag"]
    heads = " ".join(as_list(config.get("architectures")))
    return next((task for head, task in TASKS.items() if heads.endswith(head)), None)


def tags(
    card: Mapping[str, Any], files: Iterable[str], config: Mapping[str, Any], kind: str
) -> list[str]:
    """Everything a repository can be filtered by, without duplicates."""
    names: list[str | None] = []
    if kind == "models":
        names += [library(card, files, config), config.get("model_type"), task(card, config)]
        names += ["safetensors"] if any(path.endswith(".safetensors") for path in files) else []
        names += _base_model_tags(card, files)
    names += [*as_list(card.get("tags")), *as_list(card.get("language"))]
    names += [f"dataset:{name}" for name in as_list(card.get("datasets"))]
    names += [f"license:{name}" for name in as_list(card.get("license"))]
    return list(dict.fromkeys(str(tag) for tag in names if tag))


def as_list(value: object) -> list[str]:
    """A card value that may be missing, one text or several, as a list of texts."""
    values = value if isinstance(value, list) else [value] if value else []
    return [item for item in values if isinstance(item, str)]


def _base_model_tags(card: Mapping[str, Any], files: Iterable[str]) -> list[str]:
    bases = as_list(card.get("base_model"))
    adapter = card.get("library_name") == "peft" or "adapter_config.json" in files
    guess = "merge" if len(bases) > 1 else "adapter" if adapter else "finetune"
    relation = card.get("base_model_relation") or guess
    return [f"base_model:{base}" for base in bases] + [
        f"base_model:{relation}:{base}" for base in bases
    ]


def _type_names(types: tuple[type, ...]) -> str:
    return " or ".join("a text" if one is str else "a list" for one in types)
