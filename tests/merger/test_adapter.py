"""A recipe whose output is an adapter."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from simmerge_hub.errors import OutputError, RecipeError, SimmergeError
from simmerge_hub.merger.adapter import _identify
from simmerge_hub.publishing.verbs import merge
from simmerge_hub.recipe import Recipe, load, parse
from simmerge_hub.weights.lora.factors import Factors
from simmerge_hub.weights.lora.merge import AdapterMerge, Mix, Module, compute_factors
from tests import nano

NORM = "base_model.model.model.norm.weight"
AT = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """A base and two adapters of it, in folders."""
    nano.model(tmp_path / "base")
    for seed, name in enumerate(("one", "two")):
        random = torch.Generator().manual_seed(seed)
        factors = {
            f"{AT}.lora_A.weight": torch.randn(2, nano.WIDTH, generator=random),
            f"{AT}.lora_B.weight": torch.randn(nano.WIDTH, 2, generator=random),
        }
        where = str(tmp_path / "base")
        nano.lora(
            tmp_path / name, factors, base=where, target_modules=["model.layers.0.self_attn.q_proj"]
        )
    return tmp_path


def recipe(folder: Path, operator: str = "linear", **more: object) -> Path:
    data = {
        "simmerge": 1,
        "models": [{"folder": "one"}, {"folder": "two"}],
        "steps": [{"operator": operator, "models": ["one", "two"]}],
        "output": "adapter",
    } | more
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(data))
    return path


def test_the_mean_of_two_deltas(family: Path) -> None:
    report = merge(recipe(family), family / "out")
    assert report.notes == ()
    ids = torch.tensor([[1, 2, 3, 4]])
    model = AutoModelForCausalLM.from_pretrained(family / "base")
    merged = PeftModel.from_pretrained(model, family / "out")
    deltas = []
    for name in ("one", "two", "out"):
        config = json.loads((family / name / "adapter_config.json").read_text())
        factors = nano.load(family / name)
        scale = config["lora_alpha"] / config["r"]
        deltas.append(scale * factors[f"{AT}.lora_B.weight"] @ factors[f"{AT}.lora_A.weight"])
    torch.testing.assert_close(deltas[2], (deltas[0] + deltas[1]) / 2, rtol=0, atol=1e-5)
    weight = model.model.layers[0].self_attn.q_proj.base_layer.weight
    with_adapter = merged(ids).logits
    merged.disable_adapter_layers()
    with torch.no_grad():
        weight += deltas[2]
    torch.testing.assert_close(with_adapter, merged(ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"scale": 0.5}, ()),
        (
            {"scale": 1.0},
            (
                "base_model.model.model.norm.weight, which the adapters bring whole: a mean, while "
                "the weights of their deltas sum to 2; without `output: adapter` what each changes "
                "in it is added too",
            ),
        ),
    ],
)
def test_a_mean_beside_a_sum_of_deltas(
    family: Path, parameters: dict[str, float], said: tuple[str, ...]
) -> None:
    for value, name in ((1.0, "one"), (3.0, "two")):
        factors = nano.load(family / name) | {NORM: torch.full((nano.WIDTH,), value)}
        nano.lora(
            family / name,
            factors,
            base=str(family / "base"),
            target_modules=["model.layers.0.self_attn.q_proj"],
            modules_to_save=["norm"],
        )
    step = {"operator": "task_arithmetic", "models": ["one", "two"], "parameters": parameters}
    report = merge(recipe(family, steps=[step]), family / "out")
    assert nano.load(family / "out")[NORM].tolist() == [2.0] * nano.WIDTH
    assert report.notes == said


def test_the_recipe_beside_it_does_it_again(family: Path) -> None:
    merge(recipe(family, "ties", rank=3), family / "out")
    again, _ = load(family / "out")
    assert (again.output, again.rank, again.dtype) == ("adapter", 3, "float32")
    card = (family / "out" / "README.md").read_text()
    assert "library_name: peft" in card
    assert "PeftModel.from_pretrained" in card
    assert "rank 3 leaves out" in card
    with pytest.raises(OutputError, match="exists already"):
        merge(recipe(family), family / "out")
    merge(recipe(family), family / "out", overwrite=True)


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ({"tokenizer": "one"}, "`output: adapter` and `tokenizer: one`"),
        ({"slices": [{"layers": {"one": [0, 1], "two": [0, 1]}}]}, "has one step and no slices"),
        ({"models": ["./base", {"folder": "two"}],
          "steps": [{"operator": "linear", "models": ["base", "two"]}]}, "base is a full model"),
        ({"output": "x"}, "output is 'x'; write model or adapter"),
        ({"output": "model", "rank": 2}, "rank is 2, which only `output: adapter` has"),
        ({"steps": [{"operator": "linear", "models": ["one", "two"],
                     "parameters": {"normalize": {"gradient": [True, False]}}}]},
         "parameters are the same for all tensors"),
    ],
)  # fmt: skip
def test_refused(family: Path, more: dict[str, object], seen: str) -> None:
    with pytest.raises(SimmergeError) as caught:
        merge(recipe(family, **more), family / "out")
    assert seen in str(caught.value)
    assert not (family / "out").exists()


def test_an_adapter_among_models_needs_a_base(family: Path) -> None:
    with pytest.raises(RecipeError, match="one is an adapter, and the recipe has no base"):
        merge(recipe(family, output="model"), family / "out")


def test_yaml_keeps_it(family: Path) -> None:
    again, _ = parse(recipe(family, rank=4).read_text(), "x", folder=family)
    assert parse(again.to_yaml(), "x")[0] == again


@pytest.mark.parametrize(("operator", "rank"), [("linear", 0), ("ties", 3)])
def test_a_run_that_was_cut_off_is_continued(
    operator: str, rank: int, family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written is not done again, and bytes and report are those of a run in one go."""
    for seed, name in enumerate(("one", "two")):
        random = torch.Generator().manual_seed(seed)
        factors = {"base_model.model.model.norm.weight": torch.randn(nano.WIDTH, generator=random)}
        for module in "qkvo":
            at = AT.replace("q_proj", f"{module}_proj")
            factors[f"{at}.lora_A.weight"] = torch.randn(2, nano.WIDTH, generator=random)
            factors[f"{at}.lora_B.weight"] = torch.randn(nano.WIDTH, 2, generator=random)
        nano.lora(family / name, factors if operator == "linear" else _without_norm(factors))
    wanted = recipe(family, operator, rank=rank)
    whole = merge(wanted, family / "whole")
    computed: list[str] = []

    def compute(merge: AdapterMerge, module: Module, mix: Mix | None) -> Factors:
        computed.append(module.name)
        return compute_factors(merge, module, mix)

    def stop(name: str, done: int, total: int) -> None:
        assert total == 4
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("simmerge_hub.weights.lora.folder.compute_factors", compute)
    with pytest.raises(KeyboardInterrupt):
        merge(wanted, family / "out", progress=stop)
    assert not (family / "out").exists()
    again = merge(wanted, family / "out")
    assert len(computed) == len(set(computed)) == 4
    assert again.notes == whole.notes
    for file in (family / "whole").iterdir():
        if file.name not in ("README.md", "SHA256SUMS"):
            assert (family / "out" / file.name).read_bytes() == file.read_bytes(), file.name
    assert {p.name for p in (family / "out").iterdir()} == {
        p.name for p in (family / "whole").iterdir()
    }


def test_another_number_of_threads_starts_anew(
    family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Singular vectors depend on it."""
    made = Recipe(base=None, models=())
    first = _identify(made)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert _identify(made) != first


def _without_norm(factors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in factors.items() if "norm" not in name}
