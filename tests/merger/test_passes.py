"""What running models costs, said beforehand: by headers and prompts, without a model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from simmerge_hub import localhub
from simmerge_hub.cli.main import main
from simmerge_hub.errors import RecipeError
from simmerge_hub.merger import check
from simmerge_hub.merger.activations import cost
from simmerge_hub.merger.activations import cost as passes
from simmerge_hub.merger.work import tensors as work
from simmerge_hub.recipe import Recipe, Source, Step
from simmerge_hub.recipe.calibration import Calibration, Prompts
from tests import nano

TEXTS = {"code": ["a" * 40, "b" * 80, "a" * 40], "math": ["c" * 4000]}
TOKENS = {"code": 11 + 21, "math": 128}
"""A token for four characters and one more; no prompt is longer than 128."""


def recipe(folder: Path, answers: int = 0, **parameters: float) -> Recipe:
    """A merge of two models on prompts from files, one of which comes twice."""
    for name, texts in TEXTS.items():
        lines = "".join(json.dumps({"prompt": text}) + "\n" for text in texts)
        (folder / f"{name}.jsonl").write_text(lines)
    prompts = {name: (Prompts(source=str(folder / f"{name}.jsonl")),) for name in TEXTS}
    return Recipe(
        base=Source(name="base", folder=folder / "base"),
        models=tuple(Source(name=n, folder=folder / n) for n in TEXTS),
        steps=(Step(operator="regmean", models=tuple(TEXTS), parameters=parameters),),
        calibration=Calibration(prompts=prompts, answers=answers),
    )


def save_tokens(folder: Path, tokens: list[str]) -> None:
    """Give a model a tokenizer of these tokens."""
    numbers = {token: number for number, token in enumerate(tokens)}
    Tokenizer(WordLevel(numbers, tokens[0])).save(str(folder / "tokenizer.json"))


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of a base and two models, of which no weight may be read and none is run."""
    nano.family(tmp_path)
    for name in ("base", *TEXTS):
        save_tokens(tmp_path / name, [f"w{number:03}" for number in range(nano.VOCABULARY)])
    monkeypatch.setattr(work, "open_tensors", lambda *_, **__: pytest.fail("weights were opened"))
    monkeypatch.setattr(work, "open_activations", lambda *_: pytest.fail("models were run"))
    return tmp_path


def test_prompts_tokens_and_passes(family: Path) -> None:
    cost = check(recipe(family)).passes
    assert cost
    assert (cost.models, cost.prompts, cost.count) == (("code", "math"), 3, 2)
    assert cost.tokens == sum(TOKENS.values())
    answered = check(recipe(family, answers=5)).passes
    assert answered
    assert (answered.prompts, answered.count) == (3, 12)
    assert answered.tokens == cost.tokens + 3 * 5
    again = check(recipe(family, inputs="merge")).passes
    assert again
    assert (again.runs, again.count, again.tokens) == (2, 4, cost.tokens)


@pytest.mark.parametrize(
    ("letters", "tokens"),
    [
        (0, 11 + 21 + 128),
        (1, 41 + 81 + 128),
        (2, 21 + 41 + 128),
        (4, 11 + 21 + 128),
        (9, 11 + 21 + 128),
    ],
)
def test_short_tokens_are_more_tokens(letters: int, tokens: int, family: Path) -> None:
    """A tokenizer of letters makes one of each; of long ones no more than four are counted on."""
    for name in ("base", *TEXTS):
        words = [chr(97 + number) * letters for number in range(nano.VOCABULARY)]
        save_tokens(family / name, words)
    cost = check(recipe(family)).passes
    assert cost
    assert cost.tokens == tokens


def test_without_a_tokenizer_four_letters_are_a_token(family: Path) -> None:
    for name in ("base", *TEXTS):
        (family / name / "tokenizer.json").unlink(missing_ok=True)
    cost = check(recipe(family)).passes
    assert cost
    assert cost.tokens == sum(TOKENS.values())


def test_it_counts_beside_what_merging_costs(family: Path) -> None:
    wanted = recipe(family)
    linear = replace(wanted, steps=(Step(operator="linear", models=tuple(TEXTS), parameters={}),))
    plain, seeing = check(linear, threads=2), check(wanted, threads=2)
    assert plain.passes is None
    assert seeing.passes
    assert seeing.memory == plain.memory + seeing.passes.memory
    assert seeing.passes.memory > passes.LIBRARY_BYTES
    assert seeing.seconds > seeing.passes.seconds > 0


def widths(monkeypatch: pytest.MonkeyPatch, folder: Path, width: int, inner: int, layers: int):
    """What `check` says of a Llama of such a shape; nothing of the size is made."""
    monkeypatch.setattr(nano, "WIDTH", width)
    monkeypatch.setattr(nano, "INNER", inner)
    monkeypatch.setattr(nano, "LAYERS", layers)
    sized = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers}
    folder.mkdir()
    for seed, name in enumerate(("base", *TEXTS)):
        nano.save(folder / name, nano.weights(seed), config={**nano.CONFIG, **sized})
    preflight = check(recipe(folder), threads=2)
    assert preflight.passes
    return preflight.passes


def test_memory_grows_with_the_width_and_not_with_the_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = widths(monkeypatch, tmp_path / "two", 64, 128, 2)
    five = widths(monkeypatch, tmp_path / "five", 64, 128, 5)
    wide = widths(monkeypatch, tmp_path / "wide", 64, 512, 2)
    assert five.memory == two.memory
    assert wide.memory > two.memory + 512 * 512 * 4  # of one model at least the products are kept
    assert five.tokens == two.tokens


def test_models_that_run_are_read_whole(family: Path) -> None:
    """And the base of an adapter, which a mean without it would need as well; no base beside it."""
    wanted = recipe(family)
    whole = {n: (family / n / "model.safetensors").stat().st_size for n in ("base", *TEXTS)}
    assert sizes(wanted) == {**whole, "base": 0}
    lora = family / "lora"
    lora.mkdir()
    (lora / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"]})
    )
    at = "base_model.model.model.layers.0.self_attn.q_proj"
    parts = {f"{at}.lora_A.weight": (2, nano.WIDTH), f"{at}.lora_B.weight": (nano.WIDTH, 2)}
    save_file({n: torch.zeros(s) for n, s in parts.items()}, lora / "adapter_model.safetensors")
    adapted = replace(wanted, models=(Source(name="code", folder=lora), wanted.models[1]))
    assert sizes(adapted)["base"] == whole["base"]


def sizes(wanted: Recipe) -> dict[str, int]:
    return {need.name: need.size for need in check(wanted).needs}


def test_all_shards_of_a_remote_model_are_downloads(
    hub: localhub.Hub, org: str, tmp_path: Path
) -> None:
    for folder in nano.family(tmp_path):
        nano.push(folder, f"{org}/{folder.name}")
    wanted = recipe(tmp_path)
    models = tuple(Source(name=n, repo=f"{org}/{n}") for n in TEXTS)
    remote = replace(wanted, base=None, models=models)
    size = (tmp_path / "code" / "model.safetensors").stat().st_size
    assert check(remote).download == 2 * size


def test_other_prompts_than_pinned_are_refused_beforehand(family: Path) -> None:
    wanted = recipe(family)
    assert wanted.calibration
    prompts = {
        name: (replace(each, digest="0" * 64),)
        for name, (each,) in wanted.calibration.prompts.items()
    }
    pinned = replace(wanted, calibration=replace(wanted.calibration, prompts=prompts))
    with pytest.raises(RecipeError, match=r"code\.jsonl of code are not those"):
        check(pinned)


def test_a_model_that_answers_is_whole_in_memory_if_it_fits(
    family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answering(size: int, free: int) -> int:
        monkeypatch.setattr(passes, "model_bytes", lambda *_: size)
        monkeypatch.setattr(passes, "free_memory", lambda: free)
        cost = check(recipe(family, answers=4)).passes
        assert cost
        return cost.memory

    by_layers = answering(10**10, 10**9)
    whole = answering(10**9, 10**10)
    assert passes.LIBRARY_BYTES + 10**9 < whole < passes.LIBRARY_BYTES + 1.01 * 10**9
    assert by_layers < whole


def test_the_command_says_it(family: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = family / "recipe.yaml"
    path.write_text(recipe(family, answers=5).to_yaml())
    assert main(["check", str(path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "code, math on 3 prompts in all, answered with up to 5 tokens each" in said
    assert "about 175 tokens: 12 forward passes" in said
    assert main(["check", str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["runs"]["tokens"] == 175
    assert answer["memory"] > answer["runs"]["memory"]


@pytest.mark.parametrize(
    ("name", "shape", "width"),
    [
        ("model.layers.0.mlp.experts.gate_up_proj", (4, 64, 48), 64),  # GPT-OSS: [experts, in, out]
        ("model.layers.0.mlp.experts.gate_up_proj", (4, 48, 64), 64),
        ("model.layers.0.mlp.experts.down_proj", (4, 24, 64), 24),
        ("model.layers.0.mlp.experts.down_proj", (4, 64, 24), 24),
        ("model.layers.0.mlp.experts.up_proj", (4, 10, 12), 12),  # neither is the hidden size
        ("model.layers.0.mlp.down_proj.weight", (64, 24), 24),
    ],
)
def test_the_width_of_what_a_matrix_is_fed(name: str, shape: tuple[int, ...], width: int) -> None:
    assert cost._input_width(name, shape, 64) == width
