"""The nano zoo's commands on a text model: build, measure, features."""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from simmerge_hub.operators import arm
from simmerge_hub.zoo.build import build
from simmerge_hub.zoo.evaluation import evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, cast_for_exams, load_folder, load_model
from simmerge_hub.zoo.measuring.features import zoo_features
from simmerge_hub.zoo.measuring.outcomes import measure_outcomes
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

TINY = Path(__file__).with_name("tiny.yaml")
ARMS = (arm("linear"), arm("linear", weights=(1.0, 0.0)), arm("linear", weights=(0.0, 1.0)))


def test_full_models_and_adapters_are_loaded_by_transformers(tiny_text: Manifest) -> None:
    kinds = {name: entry.kind for name, entry in tiny_text.models.items()}
    assert kinds == {"gemma": "base", "sum": "full", "sum-lora": "adapter", "json": "full"}
    assert AutoModelForCausalLM.from_pretrained(tiny_text.path("sum")).dtype == torch.bfloat16
    assert len(AutoTokenizer.from_pretrained(tiny_text.path("sum"))) > 300
    config = json.loads((tiny_text.path("sum-lora") / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (4, 8)
    assert config["base_model_name_or_path"] == "tiny-text/gemma"
    assert not list(tiny_text.path("sum-lora").glob("tokenizer*"))
    for name, entry in tiny_text.models.items():
        assert (entry.delta_ratio > 0) == (name != "gemma")
        assert set(entry.scores) == {"sum", "json"}


def test_a_stopped_build_goes_on(tiny_text: Manifest, tmp_path: Path) -> None:
    first = build(TINY, tmp_path, only=["sum-lora"])
    states: dict[str, str] = {}
    second = build(TINY, tmp_path, progress=lambda step: states.update({step.model: step.state}))
    assert states == {
        "gemma": "unchanged", "sum": "finished", "sum-lora": "unchanged", "json": "finished",
    }  # fmt: skip
    assert second.models["sum-lora"] == first.models["sum-lora"]
    for name, entry in second.models.items():
        assert entry.sha256 == tiny_text.models[name].sha256


def test_an_exam_is_what_greedy_decoding_gives(tiny_text: Manifest) -> None:
    """Models that know some of it: trained to repeat, then shaken."""
    codec = codec_for(tiny_text, "gemma")
    task = find_task("instruct/repeat")
    model = load_folder(tiny_text.path("gemma"), torch.float32)
    taken = exam(task, 12, codec=codec)
    # what the model itself writes is made the right answer for half of the prompts
    for row, (ids, labels) in enumerate(zip(taken.ids, taken.labels, strict=True)):
        if row % 2:
            start = int((labels >= 0).int().argmax())
            length = int((labels >= 0).sum())
            written = _greedy(model, ids[:start], length)
            ids[start : start + length] = labels[start : start + length] = written
    wanted = [
        labels[labels >= 0].equal(
            _greedy(model, ids[: int((labels >= 0).int().argmax())], int((labels >= 0).sum()))
        )
        for ids, labels in zip(taken.ids, taken.labels, strict=True)
    ]
    assert 0 < sum(wanted) < len(wanted)
    assert mean(evaluate(model, taken).exact_match) == sum(wanted) / len(wanted)


def _greedy(model, prompt: torch.Tensor, length: int) -> torch.Tensor:
    out = model.generate(
        input_ids=prompt[None],
        attention_mask=torch.ones_like(prompt)[None],
        max_new_tokens=length,
        min_new_tokens=length,
        do_sample=False,
        suppress_tokens=None,
        eos_token_id=-1,
        pad_token_id=0,
    )
    return out[0, len(prompt) :]


def test_half_precision_gives_the_same_scores(tiny_text: Manifest) -> None:
    codec = codec_for(tiny_text, "gemma")
    for name in tiny_text.models:
        for path in tiny_text.tasks.values():
            taken = exam(find_task(path), 64, codec=codec)
            whole = evaluate(load_model(tiny_text, name), taken)
            half = evaluate(cast_for_exams(tiny_text, load_model(tiny_text, name)), taken)
            assert abs(whole.nll - half.nll) <= 0.02
            assert abs(mean(whole.token_accuracy) - mean(half.token_accuracy)) <= 0.02
            assert abs(mean(whole.exact_match) - mean(half.exact_match)) <= 0.02


def test_pairs_are_measured_in_the_dtype_of_exams(tiny_text: Manifest) -> None:
    outcomes = measure_outcomes(tiny_text.folder, arms=ARMS)
    assert len(outcomes.rows) == 6
    for row in outcomes.rows:
        alone = row.log_likelihood["linear(weights=1/0)"]
        assert abs(sum(alone) / 2 - row.unmerged_log_likelihood["expert"]) < 0.002
        assert row.utilities["linear(weights=1/0)"] == row.expert_utility


def test_features_of_measured_pairs(tiny_text: Manifest) -> None:
    outcomes = measure_outcomes(tiny_text.folder, arms=ARMS)
    table = zoo_features(tiny_text.folder, outcomes)
    assert set(table.rows) == {row.key for row in outcomes.rows}
    behaviour = [n for n in table.names if n.startswith("drift_") and not n.endswith(".middle")]
    assert len(behaviour) > 5
    for values in table.rows.values():
        known = dict(zip(table.names, values, strict=True))
        assert all(known[name] == known[name] for name in behaviour)
