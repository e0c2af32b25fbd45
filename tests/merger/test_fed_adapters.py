"""Adapters merged into one by what their models' layers are fed: it is the merge of the models."""

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from simmerge_hub.errors import AlignmentError, OperatorError
from simmerge_hub.merger import merge, run
from simmerge_hub.recipe import Recipe, load
from tests import nano
from tests.activations import random_model
from tests.merger.test_activations import BOTH, digests, load_model, recipe
from tests.signatures.conftest import save

TARGETS = {
    "llama": {
        "a": ["q_proj", "k_proj", "down_proj", "embed_tokens"],
        "b": ["q_proj", "up_proj", "lm_head"],
        "c": ["q_proj"],
    },
    "gpt2": {"a": ["c_attn", "c_proj"], "b": ["c_attn", "c_fc"], "c": ["c_fc"]},
}
RANKS = {"a": 4, "b": 2, "c": 3}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_adapters(
    folder: Path, names: Sequence[str] = BOTH, architecture: str = "llama", **more: Any
) -> None:
    """A base and adapters of it, with a tokenizer each, of different ranks and modules."""
    save(random_model(architecture), folder / "base")
    for seed, name in enumerate(names):
        settings = LoraConfig(
            r=RANKS[name], lora_alpha=7, target_modules=TARGETS[architecture][name],
            task_type="CAUSAL_LM", fan_in_fan_out=architecture == "gpt2", **more,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tuned = get_peft_model(load_model(folder / "base"), settings)
            random = torch.Generator().manual_seed(seed)
            for parameter_name, parameter in tuned.named_parameters():
                if "lora_" in parameter_name or "modules_to_save" in parameter_name:
                    drawn = torch.randn(parameter.shape, generator=random)
                    parameter.data.copy_(0.3 * drawn)
            tuned.save_pretrained(str(folder / name), save_embedding_layers=False)


def as_adapter(wanted: Recipe, **more: Any) -> Recipe:
    return replace(wanted, output="adapter", **more)


def fold(folder: Path, adapter: str) -> dict[str, Tensor]:
    """The parameters of the base with an adapter, as PEFT adds it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned = PeftModel.from_pretrained(load_model(folder / "base"), str(folder / adapter))
        return dict(tuned.merge_and_unload().named_parameters())


def compare(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in other.items():
        atol = 1e-5 * float(tensor.abs().max())
        torch.testing.assert_close(one[name], tensor, rtol=0, atol=atol, msg=name)


@pytest.mark.parametrize(
    ("architecture", "names", "parameters"),
    [
        ("llama", "ab", {}),
        ("llama", "ab", {"others": "sum", "weights": [0.3, 0.7]}),
        ("llama", "abc", {"alpha": 0.5}),
        ("gpt2", "ab", {}),
    ],
)
def test_it_is_the_merge_of_the_models(
    architecture: str, names: str, parameters: dict[str, Any], tmp_path: Path
) -> None:
    make_adapters(tmp_path, names, architecture)
    wanted = recipe(tmp_path, names, **parameters)
    whole = merge(wanted, tmp_path / "whole")
    report = merge(as_adapter(wanted), tmp_path / "out")
    models = dict(load_model(tmp_path / "whole").named_parameters())
    compare(fold(tmp_path, "out"), models)
    said = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert said["r"] == sum(RANKS[name] for name in names)
    linear = replace(wanted.steps[0], operator="linear", parameters={})
    merge(replace(as_adapter(wanted), steps=(linear,), calibration=None), tmp_path / "mean")
    mean = fold(tmp_path, "mean")
    fed = [n for n in models if not torch.allclose(mean[n], models[n], atol=1e-3)]
    assert len(fed) >= 9 if architecture == "llama" else len(fed) == 12
    assert report.notes[0] == whole.notes[0]
    assert report.notes[0].startswith("tokens fed")


def test_a_step_names_its_adapters_in_an_order_of_its_own(tmp_path: Path) -> None:
    make_adapters(tmp_path)
    wanted = as_adapter(recipe(tmp_path, weights=(0.8, 0.2)))
    turned = replace(wanted.steps[0], models=BOTH[::-1], parameters={"weights": (0.2, 0.8)})
    merge(wanted, tmp_path / "one")
    merge(replace(wanted, steps=(turned,)), tmp_path / "other")
    compare(fold(tmp_path, "other"), fold(tmp_path, "one"))


@pytest.mark.parametrize(
    ("architecture", "prefix"), [("llama", "model."), ("gpt2", "transformer.")]
)
def test_a_base_may_store_its_tensors_under_other_names(
    architecture: str, prefix: str, tmp_path: Path
) -> None:
    """As GPT-2 is stored on the Hub; adapters say what modules are called in memory."""
    make_adapters(tmp_path, BOTH, architecture)
    weights = tmp_path / "base" / "model.safetensors"
    short = {name.removeprefix(prefix): t for name, t in load_file(weights).items()}
    save_file(short, weights, {"format": "pt"})
    merge(recipe(tmp_path), tmp_path / "whole")
    report = merge(as_adapter(recipe(tmp_path)), tmp_path / "out")
    compare(fold(tmp_path, "out"), dict(load_model(tmp_path / "whole").named_parameters()))
    embedding = [note for note in report.notes if "embed_tokens" in note]
    assert len(embedding) == (architecture == "llama")


def test_what_no_prompt_passes_through_is_named(tmp_path: Path) -> None:
    make_adapters(tmp_path)
    report = merge(as_adapter(recipe(tmp_path)), tmp_path / "out")
    assert [n for n in report.notes if "1 tensor passed by no prompt" in n and "embed_tokens" in n]


def test_a_smaller_rank_is_the_closest(tmp_path: Path) -> None:
    make_adapters(tmp_path)
    wanted = as_adapter(recipe(tmp_path))
    merge(wanted, tmp_path / "out")
    report = merge(replace(wanted, rank=3), tmp_path / "cut")
    base = dict(load_model(tmp_path / "base").named_parameters())
    whole, cut = fold(tmp_path, "out"), fold(tmp_path, "cut")
    name = "model.layers.1.self_attn.q_proj.weight"
    u, s, vh = torch.linalg.svd((whole[name] - base[name]).detach(), full_matrices=False)
    closest = u[:, :3] @ s[:3].diag() @ vh[:3]
    torch.testing.assert_close((cut[name] - base[name]).detach(), closest, rtol=0, atol=1e-5)
    assert report.notes[0].startswith("rank 3 leaves out")


def test_the_recipe_beside_it_does_it_again(tmp_path: Path) -> None:
    make_adapters(tmp_path)
    report = merge(as_adapter(recipe(tmp_path, answers=2)), tmp_path / "out")
    said, _ = load(tmp_path / "out")
    assert (said.output, said.base is None) == ("adapter", False)
    assert said.calibration and said.calibration.prompts["a"][0].digest
    merge(report.recipe, tmp_path / "again")
    assert digests(tmp_path / "again") == digests(tmp_path / "out")


def test_adapters_that_bring_a_layer_whole(tmp_path: Path) -> None:
    """What they bring alike stays; a layer they trained would have to be solved for."""
    make_adapters(tmp_path, modules_to_save=["norm"])
    with pytest.raises(AlignmentError, match=r"a and b bring .*norm\.weight whole") as caught:
        merge(as_adapter(recipe(tmp_path)), tmp_path / "out")
    assert "leave out `output:`" in caught.value.hint
    assert not (tmp_path / "out").exists()
    for name in BOTH:
        weights = nano.load(tmp_path / name)
        same = {n: torch.ones_like(t) if "norm" in n else t for n, t in weights.items()}
        save_file(same, tmp_path / name / "adapter_model.safetensors")
    merge(as_adapter(recipe(tmp_path)), tmp_path / "out")
    merge(recipe(tmp_path), tmp_path / "whole")
    compare(fold(tmp_path, "out"), dict(load_model(tmp_path / "whole").named_parameters()))


@pytest.mark.parametrize(
    ("changes", "parameters", "message", "hint"),
    [
        ({"base": None}, {}, "runs the models, and the recipe says .* no base", "add a `base:`"),
        ({}, {"inputs": "merge"}, "with `inputs: merge` runs the merged model", "leave out"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_fetched(
    changes: dict[str, Any],
    parameters: dict[str, Any],
    message: str,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "fetch_all", lambda *_: pytest.fail("inputs were fetched"))
    wanted = as_adapter(recipe(tmp_path, **parameters), **changes)
    with pytest.raises(OperatorError, match=message) as caught:
        merge(wanted, tmp_path / "out")
    assert hint in caught.value.hint
