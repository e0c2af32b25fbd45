"""Which files beside the weights are carried over, and what is said of the others."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, GenerationConfig

from simmerge_hub.errors import AlignmentError, RecipeError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.merger import merge
from simmerge_hub.merger.carried import choose_files
from simmerge_hub.merger.preflight import check
from simmerge_hub.recipe import Recipe, Source, Step, load
from tests import nano

CHAT = "{% for m in messages %}{{ m.content }} w7{% endfor %}"
KEPT = ("qwen.tiktoken", "tekken.json", "source.spm", "bpe.codes", "dict.txt", "normalizer.json",
        "modules.json", "1_Pooling/config.json", "additional_chat_templates/rag.jinja",
        "LICENSE")  # fmt: skip
LEFT = ("README.md", "modeling_x.py", "kernel.cpp", "pytorch_model.bin", "flax_model.msgpack",
        "optimizer.pt", "trainer_state.json", "logo.png", "onnx/model.onnx", "onnx/config.json",
        "checkpoint-5/model.safetensors", "checkpoint-5/tokenizer.json", ".gitattributes",
        "model.safetensors.index.fp16.json")  # fmt: skip


def add(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)


def recipe(folder: Path, *models: str, base: str | None = None, **fields: Any) -> Recipe:
    operator = "task_arithmetic" if base else "linear"
    return Recipe(
        base=Source(name=base, folder=folder / base) if base else None,
        models=tuple(Source(name=name, folder=folder / name) for name in models),
        steps=(Step(operator=operator, models=models, parameters={}),),
        **fields,
    )


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_what_is_neither_weights_nor_code_nor_a_page(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        nano.save(tmp_path / name, nano.weights(seed))
    add(tmp_path / "a", *KEPT, *LEFT)
    report = merge(recipe(tmp_path, "a", "b"), tmp_path / "out")
    made = {"SHA256SUMS", "config.json", "model.safetensors", "simmerge.yaml"}
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    assert files(report.folder) - made == {*KEPT, *tokenizer}
    assert any("left behind of a: modeling_x.py, code" in note for note in report.notes)
    merge(recipe(tmp_path, "a", "b"), tmp_path / "out", overwrite=True)


def test_a_vocabulary_beside_a_union_is_left_behind(tmp_path: Path) -> None:
    nano.save(tmp_path / "a", nano.weights())
    add(tmp_path / "a", "vocab.json", "tokenizer.model", "added_tokens.json")
    model = resolve(str(tmp_path / "a"))
    chosen = choose_files(model, model, custom_code=False, rewritten=frozenset({"tokenizer.json"}))
    assert set(chosen.of_speaker) == {"tokenizer.json", "tokenizer_config.json"}
    assert "vocab.json" in chosen.notes[0] and "added tokens" in chosen.notes[0]


def embedder(folder: Path, seed: int, dense: float, pooling: str = "mean") -> None:
    """A model of sentence-transformers with a layer of its own after the pooling."""
    nano.save(folder, nano.weights(seed))
    add(folder, "1_Pooling/config.json", "2_Dense/config.json")
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": pooling}))
    listed = [{"path": path} for path in ("", "1_Pooling", "2_Dense")]
    (folder / "modules.json").write_text(json.dumps(listed))
    save_file({"linear.weight": torch.full((2, 2), dense)}, folder / "2_Dense/model.safetensors")


def test_layers_of_sentence_transformers_are_carried_over_where_all_share_them(
    tmp_path: Path,
) -> None:
    nano.save(tmp_path / "base", nano.weights())
    embedder(tmp_path / "a", 1, 1.0)
    embedder(tmp_path / "b", 2, 1.0, pooling="cls")
    report = merge(recipe(tmp_path, "a", "b", base="base"), tmp_path / "out")
    modules = {"modules.json", "1_Pooling/config.json", "2_Dense/config.json",
               "2_Dense/model.safetensors"}  # fmt: skip
    assert modules <= files(report.folder)
    for name in modules:
        assert (report.folder / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    wanted = (
        "b has another 1_Pooling/config.json (pooling_mode cls, not mean): how sentences become "
        "vectors is as in a"
    )
    assert wanted in report.notes


def test_how_sentences_become_vectors_is_as_the_merged_models_share_it(tmp_path: Path) -> None:
    """Whatever the base has, its own layers too; prompts count, versions of libraries do not."""
    embedder(tmp_path / "base", 0, 3.0)
    stated: dict[str, object] = {"prompts": {"query": "q: "}}
    for seed, name in enumerate("ab", 1):
        embedder(tmp_path / name, seed, 1.0, pooling="cls")
        stated["__version__"] = {"torch": name}
        stated |= {"similarity_fn_name": None} if name == "b" else {}  # as if it were not there
        (tmp_path / name / "config_sentence_transformers.json").write_text(json.dumps(stated))
    report = merge(recipe(tmp_path, "a", "b", base="base"), tmp_path / "out")
    assert json.loads((report.folder / "1_Pooling/config.json").read_text()) == {
        "pooling_mode": "cls"
    }
    vectors = [note for note in report.notes if "vectors" in note]
    assert [note.split(" (")[0] for note in vectors] == ["base has another 1_Pooling/config.json"]
    stated["prompts"] = {"query": "find: "}
    (tmp_path / "b" / "config_sentence_transformers.json").write_text(json.dumps(stated))
    (tmp_path / "base" / "modules.json").unlink()
    report = merge(recipe(tmp_path, "a", "b", base="base"), tmp_path / "other")
    assert any(
        note.startswith("b has another config_sentence_transformers.json (prompts {'query'")
        for note in report.notes
    )


def test_layers_of_sentence_transformers_that_differ_are_refused(tmp_path: Path) -> None:
    embedder(tmp_path / "a", 1, 1.0)
    embedder(tmp_path / "b", 2, 2.0)
    seen = r"^a and b differ in 2_Dense/model\.safetensors, a layer that sentence-transformers"
    for run in (check, lambda r: merge(r, tmp_path / "out")):
        with pytest.raises(AlignmentError, match=seen):
            run(recipe(tmp_path, "a", "b"))


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """A plain base and two chat models of it, which end answers with another token."""
    base = nano.weights()
    plain = {**nano.CONFIG, "eos_token_id": 1}
    nano.save(tmp_path / "base", base, config=plain)
    (tmp_path / "base/generation_config.json").write_text('{"eos_token_id": 1}')
    for seed, name in enumerate(("one", "two"), 1):
        config = {**plain, "eos_token_id": 7}
        folder = nano.save(tmp_path / name, nano.tuned(base, seed, size=0.1), config=config)
        (folder / "chat_template.jinja").write_text(CHAT)
        (folder / "generation_config.json").write_text('{"eos_token_id": [7, 1], "top_k": 9}')
        path = folder / "tokenizer_config.json"
        stated = json.loads(path.read_text())
        path.write_text(json.dumps({**stated, "eos_token": "w7"}))
    return tmp_path


@pytest.mark.parametrize("tokenizer", ["auto", "union", "two"])
def test_what_the_merged_models_share_is_theirs(chats: Path, tokenizer: str) -> None:
    made = recipe(chats, "one", "two", base="base", tokenizer=tokenizer)
    out = merge(made, chats / "out").folder
    assert (out / "chat_template.jinja").read_text() == CHAT
    assert json.loads((out / "config.json").read_text())["eos_token_id"] == 7
    stated = json.loads((out / "generation_config.json").read_text())
    assert stated == {"eos_token_id": [7, 1], "top_k": 9}


def test_the_base_s_if_it_is_asked_for(chats: Path) -> None:
    report = merge(recipe(chats, "one", "two", base="base", tokenizer="base"), chats / "out")
    assert not (report.folder / "chat_template.jinja").exists()
    assert json.loads((report.folder / "config.json").read_text())["eos_token_id"] == 1
    assert any("`tokenizer: one` takes it" in note for note in report.notes)


def test_of_models_that_differ_the_first_is_taken(chats: Path) -> None:
    (chats / "two/chat_template.jinja").write_text("another")
    report = merge(recipe(chats, "one", "two", base="base"), chats / "out")
    assert (report.folder / "chat_template.jinja").read_text() == CHAT
    assert json.loads((report.folder / "config.json").read_text())["eos_token_id"] == 7
    (said,) = [note for note in report.notes if "different ways" in note]
    assert "(chat templates): those of one are taken" in said
    assert "`tokenizer: two` takes those of two" in said


def test_how_models_differ_is_said(chats: Path) -> None:
    path = chats / "two/tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token": "w8"}))
    (chats / "two/chat_template.jinja").unlink()
    report = merge(recipe(chats, "one", "two", base="base"), chats / "out")
    (said,) = [note for note in report.notes if "different ways" in note]
    assert "end token w7 of one, w8 of two; chat templates, two has none" in said


@pytest.mark.parametrize("written", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_template_that_the_recipe_names(chats: Path, written: str) -> None:
    """Of a model, wherever that keeps it; the tokenizer stays another's."""
    if written == "tokenizer_config.json":
        for name in ("one", "two"):
            (chats / name / "chat_template.jinja").unlink()
            path = chats / name / written
            path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": CHAT}))
    made = recipe(chats, "one", "two", base="base", tokenizer="base")
    out = merge(replace(made, chat_template="two"), chats / "out").folder
    assert (out / "chat_template.jinja").read_text() == CHAT
    assert json.loads((out / "config.json").read_text())["eos_token_id"] == 1


def test_a_template_that_the_recipe_holds(chats: Path) -> None:
    """No other is left in any of the files that hold one, of old and of today."""
    own = "{{ messages[0]['content'] }}!\n"
    for name in ("chat_template.json", "tokenizer_config.json"):
        path = chats / "one" / name
        stated = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**stated, "chat_template": CHAT}))
    made = replace(recipe(chats, "one", "two", base="base"), chat_template=own)
    report = merge(made, chats / "out")
    tokenizer = AutoTokenizer.from_pretrained(report.folder)
    said = tokenizer.apply_chat_template([{"role": "user", "content": "w1"}], tokenize=False)
    assert said.strip() == "w1!"
    again, _ = load(str(report.folder))
    assert again.chat_template == own
    assert "chat_template" not in json.loads((report.folder / "tokenizer_config.json").read_text())
    assert not (report.folder / "chat_template.json").exists()


def test_a_template_that_is_not_there(chats: Path) -> None:
    made = replace(recipe(chats, "one", "two", base="base"), chat_template="base")
    with pytest.raises(RecipeError, match="base has no chat template"):
        merge(made, chats / "out")
    assert not (chats / "out").exists()


def test_a_merge_of_chat_models_speaks_as_they_do(chats: Path) -> None:
    """Two chat models on a plain base, as transformers loads them."""
    out = merge(recipe(chats, "one", "two", base="base"), chats / "out").folder
    talk = [{"role": "user", "content": "w1 w2"}]
    seen = []
    for folder in (chats / "one", chats / "two", out):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        ids = tokenizer.apply_chat_template(talk, tokenize=True)
        generation = GenerationConfig.from_pretrained(folder)
        seen.append(
            (str(ids), tokenizer.eos_token, tokenizer.eos_token_id, generation.eos_token_id)
        )
    assert seen[0] == seen[1] == seen[2]
    assert seen[2][1] == "w7"


def test_a_base_without_a_tokenizer(chats: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (chats / "base" / name).unlink()
    out = merge(recipe(chats, "one", "two", base="base"), chats / "out").folder
    assert (out / "tokenizer.json").is_file() and (out / "chat_template.jinja").is_file()


def test_an_adapter_s_own_tokenizer(chats: Path) -> None:
    """It states no ids: they are those of its end token."""
    lora = nano.lora(chats / "lora")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (lora / name).write_bytes((chats / "one" / name).read_bytes())
    out = merge(recipe(chats, "lora", base="base"), chats / "out").folder
    assert (out / "chat_template.jinja").read_text() == CHAT
    assert json.loads((out / "config.json").read_text())["eos_token_id"] == 7
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == 7
