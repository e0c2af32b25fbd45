import json
from pathlib import Path

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from simmerge_hub.errors import RecipeError
from simmerge_hub.zoo.build import Step, build
from simmerge_hub.zoo.manifest import MANIFEST_FILE, Manifest, load_model

TINY = Path(__file__).with_name("tiny.yaml")


def _rebuilt(folder: Path, path: Path = TINY, **options) -> list[Step]:
    steps: list[Step] = []
    build(path, folder, progress=steps.append, **options)
    return steps


def test_a_build_is_loaded_by_transformers_and_peft(tiny: Manifest) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny.path("base"))
    assert base.config.architectures == ["LlamaForCausalLM"]
    assert AutoModelForCausalLM.from_pretrained(tiny.path("code")).config.tie_word_embeddings
    assert len(AutoTokenizer.from_pretrained(tiny.path("code"))) == 64
    adapter = PeftModel.from_pretrained(base, tiny.path("math-lora"))
    assert adapter.peft_config["default"].base_model_name_or_path == "tiny-zoo/base"
    assert tiny.models["math-lora"].kind == "adapter"


def test_scores_and_deltas_are_recorded(tiny: Manifest) -> None:
    assert list(tiny.models) == ["base", "code", "math", "math-lora"]
    for name, entry in tiny.models.items():
        assert set(entry.scores) == {"code", "math"}
        assert (entry.delta_ratio > 0) == (name != "base")
    text = (tiny.folder / MANIFEST_FILE).read_text()
    assert str(tiny.folder) not in text


def test_probes_hold_prompts_only(tiny: Manifest) -> None:
    lines = [json.loads(line) for line in tiny.probes("math").read_text().splitlines()]
    assert len(lines) == 8
    assert all(list(line) == ["prompt"] for line in lines)


def test_two_builds_are_the_same_bytes(tiny: Manifest, tmp_path: Path) -> None:
    build(TINY, tmp_path)
    assert _files(tmp_path) == _files(tiny.folder)


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_stopped_build_goes_on(tmp_path: Path) -> None:
    first = _rebuilt(tmp_path, only=["code"])
    assert [(s.model, s.state) for s in first if s.state != "training"] == [
        ("base", "finished"), ("code", "finished"),
    ]  # fmt: skip
    second = {s.model: s.state for s in _rebuilt(tmp_path)}
    assert second == {
        "base": "unchanged", "code": "unchanged", "math": "finished", "math-lora": "finished",
    }  # fmt: skip
    (tmp_path / "code" / "model.safetensors").write_bytes(b"torn")
    changed = tmp_path / "zoo.yaml"
    changed.write_text(TINY.read_text().replace("seed: 2", "seed: 22"))
    third = {s.model: s.state for s in _rebuilt(tmp_path, changed)}
    assert third == {
        "base": "unchanged", "code": "finished", "math": "finished", "math-lora": "unchanged",
    }  # fmt: skip


def test_what_learned_nothing_is_dropped_but_recorded(tmp_path: Path) -> None:
    strict = tmp_path / "zoo.yaml"
    strict.write_text(TINY.read_text().replace("keep_above: -1.0", "keep_above: 0.5"))
    built = build(strict, tmp_path / "zoo", only=["code"])
    assert not built.models["code"].kept
    assert not (tmp_path / "zoo" / "code").exists()
    assert built.specialists == {}
    again = _rebuilt(tmp_path / "zoo", strict, only=["code"])
    assert [step.state for step in again] == ["unchanged", "unchanged"]


def test_an_unknown_specialist_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"has no cod$") as raised:
        build(TINY, tmp_path, only=["cod"])
    assert raised.value.hint == "it has code, math, math-lora"


def test_an_adapter_is_folded_into_its_base(tiny: Manifest) -> None:
    model = load_model(tiny, "math-lora")
    assert not hasattr(model, "peft_config") or not model.peft_config
    assert [n for n, _ in model.named_parameters()] == [
        n for n, _ in load_model(tiny, "base").named_parameters()
    ]


def test_where_a_share_of_pairs_is_drawn_exams_are_those_of_partners(tmp_path: Path) -> None:
    text = TINY.read_text()
    for share, asked in ((0.0, {"code"}), (1.0, {"code", "math"})):
        path = tmp_path / "zoo.yaml"
        path.write_text(f"{text}pairs: {{seed: 1, share: {{base: {share}}}}}\n")
        built = build(path, tmp_path / "zoo", only=["code"])
        assert set(built.models["code"].scores) == asked
        assert set(built.models["base"].scores) == {"code", "math"}
        assert built.pairs["share"] == {"base": share}
    again = _rebuilt(tmp_path / "zoo", path, only=["code"])
    assert [step.state for step in again] == ["unchanged", "unchanged"]
