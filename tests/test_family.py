"""A family that the zoos do not have goes the whole way: plan, merge, evaluate, learn, push.

Three tiny Qwen3 models with random weights, the two specialists near their base. Each is right, by
definition, at its own task: which of two letters it would rather write. What is shown is that every
step takes the family, not that a merge is any good.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import HfApi
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from simmerge_hub.cli.main import main
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.learning.measurements import load_measurements
from simmerge_hub.learning.tables import MEASUREMENTS_FILE

PROMPTS = 16
TASK = {
    "dataset_path": "json", "test_split": "test", "output_type": "multiple_choice",
    "doc_to_text": "{{question}}", "doc_to_choice": "{{choices}}", "doc_to_target": "label",
    "target_delimiter": "", "metadata": {"version": 1},
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}  # fmt: skip


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and two specialists, a task in the harness's YAML, and probes, in one folder."""
    folder = tmp_path_factory.mktemp("qwen")
    base = _base(folder / "base")
    for seed, (name, task) in enumerate({"left": "odd", "right": "even"}.items(), 1):
        _write_task(folder / task, _specialist(base, folder / name, seed))
    return folder


def _base(folder: Path) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(nano_folder() / "base")
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.1,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).bfloat16()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def _specialist(base: Qwen3ForCausalLM, folder: Path, seed: int) -> Qwen3ForCausalLM:
    shutil.copytree(folder.parent / "base", folder)
    random = torch.Generator().manual_seed(seed)
    weights = {
        name: (w + 0.06 * torch.randn(w.shape, generator=random)).to(torch.bfloat16)
        for name, w in base.state_dict().items()
        if name != "lm_head.weight" or not base.config.tie_word_embeddings
    }
    model = Qwen3ForCausalLM(base.config).bfloat16()
    model.load_state_dict(weights, strict=False)
    model.save_pretrained(folder)
    (folder / "README.md").write_text(f"---\nbase_model: {folder.parent / 'base'}\n---\n")
    return model.eval()


def _write_task(folder: Path, expert: Qwen3ForCausalLM) -> None:
    folder.mkdir()
    letters, tokenizer = "abcdefghijklmnop", AutoTokenizer.from_pretrained(nano_folder() / "base")
    rows = []
    for i in range(PROMPTS):
        question = f"{letters[i % 16]}{letters[(i * 7 + 3) % 16]}:>"
        choices = [letters[i % 5], letters[5 + i % 7]]
        with torch.no_grad():
            logits = expert(**tokenizer(question, return_tensors="pt")).logits[0, -1]
        ids = tokenizer.convert_tokens_to_ids(choices)
        label = int(logits[ids].argmax())
        rows.append({"question": question, "choices": choices, "label": label})
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {"data_files": {"test": str(folder / "data.jsonl")}}
    (folder / "task.yaml").write_text(
        yaml.safe_dump({"task": f"tiny_{folder.name}", "dataset_kwargs": files, **TASK})
    )
    probes = "".join(json.dumps({"prompt": row["question"]}) + "\n" for row in rows[:8])
    (folder / "probes.jsonl").write_text(probes)


def test_a_qwen3_goes_the_whole_way(
    family: Path, org: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    left, right, base = (str(family / name) for name in ("left", "right", "base"))
    plan, merged = tmp_path / "plan.yaml", tmp_path / "merged"
    asked = ["--expert", f"odd={left}", "--expert", f"even={right}", "--base", base]
    for name in ("odd", "even"):
        asked += ["--probes", f"{name}={family / name / 'probes.jsonl'}"]
    assert main(["plan", left, right, *asked, "-o", str(plan)]) == 0
    assert main(["merge", str(plan), "-o", str(merged)]) == 0
    task = str(family / "odd" / "task.yaml")
    capsys.readouterr()
    assert main(["evaluate", str(merged), "--tasks", task, "--json"]) == 0
    ((result,),) = json.loads(capsys.readouterr().out).values()
    assert 0 <= result["metrics"]["acc"] <= 1 and result["samples"] == PROMPTS
    assert main(["push", str(merged), f"{org}/merged"]) == 0
    config = json.loads(Path(HfApi().hf_hub_download(f"{org}/merged", "config.json")).read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    recipe = tmp_path / "learn.yaml"
    recipe.write_text(yaml.safe_dump({
        "models": [left, right], "base": base, "arms": ["linear", {"regmean": {"alpha": 0.9}}],
        "tasks": {name: {"evaluate": str(family / name / "task.yaml"),
                         "probes": str(family / name / "probes.jsonl")}
                  for name in ("odd", "even")},
        "budget": 2, "limit": PROMPTS,
    }))  # fmt: skip
    learned = ["learn", str(recipe), "-o", str(tmp_path / "learned"), "--no-train"]
    assert main([*learned, "--push", f"{org}/predictor"]) == 0
    rows = load_measurements(tmp_path / "learned" / MEASUREMENTS_FILE)
    assert rows and not any(row.failed for row in rows)
    assert {row.arm for row in rows} == {"linear", "regmean(alpha=0.9)"}
    assert HfApi().file_exists(f"{org}/predictor-outcomes", MEASUREMENTS_FILE, repo_type="dataset")
