"""How models end answers and lay out chats is as transformers reads it."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.weights.tokens.speech import (
    TEMPLATE,
    choose_speaker,
    end_token_id,
    read_speech,
)
from tests import nano

END = {"content": "<end>", "special": True}
LISTED = {str(nano.VOCABULARY): END}


def chat(folder: Path, *, template: str = "", mapped: Any = None, **config: Any) -> Checkpoint:
    """A model whose tokenizer has an added token; what its files say of special ones."""
    nano.save(folder, nano.weights())
    (folder / "tokenizer.json").write_text(nano.words(nano.VOCABULARY, "<end>"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if template:
        (folder / "chat_template.jinja").write_text(template)
    if mapped is not None:
        (folder / "special_tokens_map.json").write_text(json.dumps(mapped))
    return resolve(str(folder))


@pytest.mark.parametrize(
    ("mapped", "config"),
    [
        (None, {"eos_token": "<end>"}),
        (None, {"eos_token": "w7"}),
        ({"eos_token": "w7"}, {"eos_token": "<end>"}),
        ({"eos_token": END}, {}),
        ({"bos_token": "w1"}, {"eos_token": "w7"}),
        ({"eos_token": "w7"}, {"eos_token": "<end>", "added_tokens_decoder": LISTED}),
    ],
)
def test_the_token_that_ends_an_answer(mapped: Any, config: dict[str, Any], tmp_path: Path) -> None:
    model = chat(tmp_path, mapped=mapped, **config)
    tokenizer, speech = AutoTokenizer.from_pretrained(tmp_path), read_speech(model)
    assert speech is not None
    assert (speech.end, end_token_id(model)) == (tokenizer.eos_token, tokenizer.eos_token_id)
    assert speech.end in ("<end>", "w7")


NAMES = [{"name": name, "template": "{{ 3 }}"} for name in ("default", "rag")]


@pytest.mark.parametrize(
    ("files", "config", "wanted"),
    [
        ([], "{{ 3 }}", {"": "{{ 3 }}"}),
        ([], NAMES, {"": "{{ 3 }}", "rag": "{{ 3 }}"}),
        ([TEMPLATE], "{{ 3 }}", {"": "{{ 1 }}"}),
        ([TEMPLATE], NAMES, {"": "{{ 1 }}"}),
        (["additional_chat_templates/tool_use.jinja"], NAMES, {"tool_use": "{{ 1 }}"}),
        (["additional_chat_templates/default.jinja"], NAMES, {"": "{{ 1 }}"}),
        (
            [TEMPLATE, "additional_chat_templates/rag.jinja"],
            "{{ 3 }}",
            {"": "{{ 1 }}", "rag": "{{ 1 }}"},
        ),
    ],
)
def test_chat_templates(files: list[str], config: Any, wanted: object, tmp_path: Path) -> None:
    chat(tmp_path, chat_template=config)
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"{{ 1 }}")
    template = AutoTokenizer.from_pretrained(tmp_path).chat_template
    read = template if isinstance(template, dict) else {"": template}
    assert {"" if name == "default" else name: text for name, text in read.items()} == wanted
    speech = read_speech(resolve(str(tmp_path)))
    assert speech is not None and speech.templates == wanted


def test_a_second_default_template_counts_as_in_transformers(tmp_path: Path) -> None:
    chat(tmp_path, template="{{ 1 }}")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "default.jinja").write_text("{{ 2 }}")
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == "{{ 2 }}"
    speech = read_speech(resolve(str(tmp_path)))
    assert speech is not None and speech.templates == {"": "{{ 2 }}"}


def test_a_key_that_a_config_has_twice_counts_as_in_transformers(tmp_path: Path) -> None:
    chat(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "w7", "eos_token": "<end>"}')
    assert AutoTokenizer.from_pretrained(tmp_path).eos_token == "<end>"
    speech = read_speech(resolve(str(tmp_path)))
    assert speech is not None and speech.end == "<end>"


def test_a_base_that_lays_out_chats_speaks_for_models_that_do_not(tmp_path: Path) -> None:
    base = chat(tmp_path / "base", template="{{ 1 }}", eos_token="<end>")
    models = {name: chat(tmp_path / name, eos_token="w7") for name in "ab"}
    assert choose_speaker(models, "base", {"base": base, **models}) == ("base", [])
    other = {name: chat(tmp_path / name, template="{{ 2 }}", eos_token="w7") for name in "cd"}
    chosen, (said,) = choose_speaker(other, "base", {"base": base, **other})
    assert chosen == "c"
    assert said.startswith("tokenizer, chat template and end token are those of c")
