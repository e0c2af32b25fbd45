"""A recipe whose output is an adapter."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from simmerge_hub.errors import OutputError, RecipeError, SimmergeError
from simmerge_hub.publishing.verbs import merge
from simmerge_hub.recipe import load, parse
from tests import nano

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
