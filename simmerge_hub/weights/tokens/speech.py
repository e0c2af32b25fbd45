"""How models end an answer and lay out a chat: whose tokenizer files a merge should have.

Chat models that were trained on a plain base share an end token and a template that the base does
not have. Where all merged models that bring a tokenizer agree, theirs is the merge's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simmerge_hub.hub.files.cached import read_stated_object, read_text
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.tokens.tokenizers import TOKENIZER, TOKENIZER_CONFIG

SPECIAL_TOKENS = "special_tokens_map.json"
TEMPLATE = "chat_template.jinja"
TEMPLATES = re.compile(rf"{re.escape(TEMPLATE)}|additional_chat_templates/([^/]+)\.jinja")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """The token that ends an answer, or "", and the chat templates by name ("" is the default)."""

    end: str
    templates: Mapping[str, str]


def read_speech(model: Checkpoint) -> Speech | None:
    """What a model's tokenizer files say; None if it has none."""
    if not model.tokenizer_files:
        return None
    config = read_stated_object(model.location, model.files, TOKENIZER_CONFIG)
    return Speech(end=_end_token(model, config), templates=_templates(model, config))


def choose_speaker(
    models: Mapping[str, Checkpoint], home: str, checkpoints: Mapping[str, Checkpoint]
) -> tuple[str, list[str]]:
    """Whose tokenizer files a merge should have, and why in sentences.

    Args:
        models: what is merged, by name, without the base.
        home: the base, or the first model.
        checkpoints: all of them.
    """
    spoken = {name: speech for name, m in models.items() if (speech := read_speech(m))}
    own = read_speech(checkpoints[home])
    if not spoken:
        return home, []
    first, shared = next(iter(spoken.items()))
    if any(speech != shared for speech in spoken.values()):
        return (home if shared == own else first), [_explain_difference(spoken)]
    if own is None:
        return first, [f"{home} has no tokenizer: the output has that of {first}"]
    if shared == own or (own.templates and not shared.templates):
        return home, []
    return first, [
        f"tokenizer, chat template and end token are those of {first}: the merged models share "
        f"them, and {home} has others (`tokenizer: base` takes those)"
    ]


def end_token_id(model: Checkpoint) -> int | None:
    """The number of the token that ends an answer, as a model's tokenizer.json has it."""
    speech = read_speech(model)
    data = read_stated_object(model.location, model.files, TOKENIZER)
    added = data.get("added_tokens")
    vocabulary = data["model"].get("vocab") if isinstance(data.get("model"), dict) else None
    for entry in added if isinstance(added, list) else ():
        if isinstance(entry, dict) and speech and entry.get("content") == speech.end:
            return entry["id"] if type(entry.get("id")) is int else None
    number = vocabulary.get(speech.end) if speech and isinstance(vocabulary, dict) else None
    return number if type(number) is int else None


def is_template(text: str) -> bool:
    """Whether a text is a chat template in Jinja, and no name."""
    return "{{" in text or "{%" in text


def default_template(model: Checkpoint) -> str:
    """The chat template that a model's tokenizer uses unless told otherwise; "" if it has none."""
    speech = read_speech(model)
    return speech.templates.get("", "") if speech else ""


def _explain_difference(spoken: Mapping[str, Speech]) -> str:
    """How the models' ends of answers and templates differ, and whose are taken."""
    first, *others = spoken
    ends = {name: speech.end or "none" for name, speech in spoken.items()}
    ways = [f"end token {', '.join(f'{e} of {n}' for n, e in ends.items())}"]
    if len(set(ends.values())) == 1:
        ways = []
    if any(speech.templates != spoken[first].templates for speech in spoken.values()):
        without = [name for name, speech in spoken.items() if not speech.templates]
        ways.append("chat templates" + (f", {' and '.join(without)} has none" if without else ""))
    return (
        f"the models end answers or lay out chats in different ways ({'; '.join(ways)}): those of "
        f"{first} are taken; `tokenizer: {others[0]}` takes those of {others[0]}"
    )


def _end_token(model: Checkpoint, config: Mapping[str, Any]) -> str:
    """As transformers reads it: what special_tokens_map.json says counts more than the config, and
    is passed over where the config lists added tokens."""
    passed = "added_tokens_decoder" in config
    mapped = {} if passed else read_stated_object(model.location, model.files, SPECIAL_TOKENS)
    return _token(mapped.get("eos_token", config.get("eos_token")))


def _templates(model: Checkpoint, config: Mapping[str, Any]) -> dict[str, str]:
    """As transformers reads them: where there are files of templates, those of the config are
    passed over."""
    where = (model.location, model.files)
    templates = {
        _name(match[1]): read_text(*where, file).replace("\r\n", "\n")
        for file in sorted(model.files, key=lambda file: file != TEMPLATE)
        if (match := TEMPLATES.fullmatch(file))
    }
    if templates:
        return templates
    stated = config.get("chat_template")
    templates = {"": stated} if isinstance(stated, str) else {}
    for entry in stated if isinstance(stated, list) else ():
        if isinstance(entry, dict):
            templates[_name(str(entry.get("name")))] = str(entry.get("template"))
    of_processor = read_stated_object(*where, "chat_template.json").get("chat_template")
    if isinstance(of_processor, str):
        templates[""] = of_processor
    return templates


def _name(stated: str | None) -> str:
    return "" if stated in (None, "default") else stated


def _token(stated: Any) -> str:
    token = stated.get("content") if isinstance(stated, dict) else stated
    return token if isinstance(token, str) else ""
