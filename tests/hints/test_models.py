"""Refusals of models, adapters and folders as people have them: each is put right as it is told."""

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from simmerge_hub.publishing.verbs import check, merge, push
from tests import nano
from tests.hints.conftest import Refused, run
from tests.hints.test_recipes import ADAPTERS, BASED, MEAN, MODELS, SLICES, step

ADDED = "simmerge: 1\nbase: ./base\nmodels: [./lora]\n" + step("task_arithmetic", "lora")
AT = "base_model.model.model.layers.0.self_attn.q_proj"
MASK = "model.mask.weight"


def own(here: Path, name: str) -> Path:
    """A copy of one of the family's folders that a test may change."""
    family = (here / name).resolve()
    (here / name).unlink()
    shutil.copytree(family, here / name)
    return here / name


def rewrite(folder: Path, tensors: Mapping[str, Tensor], file: str = "model.safetensors") -> None:
    save_file({n: t.clone() for n, t in tensors.items()}, folder / file, {"format": "pt"})


def configure(folder: Path, file: str = "config.json", **changes: Any) -> None:
    """Settings set in a JSON file; None takes one out."""
    config = json.loads((folder / file).read_text()) | changes
    kept = {key: value for key, value in config.items() if value is not None}
    (folder / file).write_text(json.dumps(kept))


def assert_mean(*models: Path, error: float = 1e-6) -> None:
    """`out` is the mean of the models."""
    tensors = [nano.load(model) for model in models]
    for name, tensor in nano.load(Path("out")).items():
        mean = sum(each[name].double() for each in tensors) / len(tensors)
        torch.testing.assert_close(tensor.double(), mean, atol=error, rtol=0)


def assert_added(scale: float = 2.0) -> None:
    """`out` is the base with the family's first adapter added."""
    base, pair = nano.load(Path("base")), load_file("lora/adapter_model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    delta = pair[f"{AT}.lora_B.weight"] @ pair[f"{AT}.lora_A.weight"] * scale
    torch.testing.assert_close(nano.load(Path("out"))[name], base[name] + delta)


# Weights under other names


@pytest.mark.refusal("… has no model.safetensors; it has …", "the merge")
@pytest.mark.parametrize(
    ("stored", "advice"),
    [
        ("model.fp16.safetensors", "rename the files without it"),
        ("weights.safetensors", "rename the file to model.safetensors"),
    ],
)
def test_weights_of_another_name(stored: str, advice: str, here: Path, refused: Refused) -> None:
    file = own(here, "code") / "model.safetensors"
    file.rename(file.with_name(stored))
    assert advice in refused(run, MODELS + MEAN)
    file.with_name(stored).rename(file)
    run(MODELS + MEAN)
    assert_mean(here / "code", here / "math")


@pytest.mark.refusal("… has no safetensors weights (…)", "the merge")
def test_weights_that_are_no_safetensors(here: Path, refused: Refused) -> None:
    folder = here / "code"
    folder.unlink()
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**nano.CONFIG)).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "weights.pt")
    assert "save_pretrained()" in refused(run, MODELS + MEAN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = transformers.LlamaConfig.from_pretrained(folder)
        model = transformers.LlamaForCausalLM(config)
        model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
        model.save_pretrained(folder)
    run(MODELS + MEAN)
    assert_mean(here / "code", here / "math")


@pytest.mark.refusal("…: …", "the merge", "the upload or download is incomplete")
def test_a_shard_is_missing(here: Path, refused: Refused) -> None:
    folder = own(here, "code")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    nano.save(folder, tensors, shards=3)
    shard = folder / "model-00002-of-00003.safetensors"
    kept = shard.read_bytes()
    shard.unlink()
    refused(run, MODELS + MEAN)
    shard.write_bytes(kept)  # "fetch the model again"
    run(MODELS + MEAN)
    assert_mean(here / "code", here / "math")


@pytest.mark.refusal("… cannot be believed: …", "the merge", "the file is damaged")
def test_a_file_that_ends_early(here: Path, refused: Refused) -> None:
    file = own(here, "code") / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused(run, MODELS + MEAN)
    file.write_bytes(whole)  # "fetch it again"
    run(MODELS + MEAN)
    assert_mean(here / "code", here / "math")


@pytest.mark.refusal("… has no readable …: …", "the merge")
@pytest.mark.parametrize("text", [None, "[1]", '{"a": 1, "a": 2}'])
def test_a_config_that_cannot_be_read(text: str | None, here: Path, refused: Refused) -> None:
    config = own(here, "code") / "config.json"
    kept = config.read_text()
    config.unlink() if text is None else config.write_text(text)
    refused(run, MODELS + MEAN)
    transformers.LlamaConfig(**json.loads(kept)).save_pretrained(config.parent)
    run(MODELS + MEAN)
    assert_mean(here / "code", here / "math")


@pytest.mark.refusal("… is quantised with …, which cannot be merged", "the merge of the original")
def test_a_quantised_copy(here: Path, refused: Refused) -> None:
    configure(own(here, "code"), quantization_config={"quant_method": "gptq", "bits": 4})
    refused(run, MODELS + MEAN)
    run((MODELS + MEAN).replace("code", "base"))
    assert_mean(here / "base", here / "math")


@pytest.mark.refusal("… cannot be merged: …", "the merge")
def test_weights_of_a_kind_that_is_not_merged(here: Path, refused: Refused) -> None:
    folder = own(here, "code")
    tensors = load_file(folder / "model.safetensors")
    rewrite(folder, {n: t.to(torch.complex64) for n, t in tensors.items()})
    refused(run, MODELS + MEAN)
    rewrite(folder, {n: t.to(torch.float16) for n, t in tensors.items()})
    run(MODELS + MEAN)
    assert_mean(here / "code", here / "math", error=2e-3)


@pytest.mark.refusal("… of … is a link to …, outside of the folder", "the merge")
def test_a_link_out_of_the_folder(here: Path, refused: Refused) -> None:
    config = own(here, "code") / "config.json"
    shutil.move(config, here / "elsewhere.json")
    config.symlink_to(here / "elsewhere.json")
    refused(run, MODELS + MEAN)
    config.unlink()
    shutil.copy(here / "elsewhere.json", config)
    run(MODELS + MEAN)
    assert_mean(here / "code", here / "math")


@pytest.mark.refusal("… of … is a link to a file that is not there", "the merge")
def test_a_link_to_nothing(here: Path, refused: Refused) -> None:
    config = own(here, "code") / "config.json"
    kept = config.read_text()
    config.unlink()
    config.symlink_to(config.with_name("nothing"))
    refused(run, MODELS + MEAN)
    config.unlink()
    config.write_text(kept)
    run(MODELS + MEAN)


@pytest.mark.refusal("… has NaN or Inf in …", "the merge of the others", "leave this model out")
def test_a_model_that_is_damaged(here: Path, refused: Refused) -> None:
    folder = own(here, "code")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][0, 0] = torch.nan
    rewrite(folder, tensors)
    refused(run, MODELS + MEAN)
    run((MODELS + MEAN).replace("code", "base"))
    assert_mean(here / "base", here / "math")


@pytest.mark.refusal("… has NaN or Inf in …", "the merge of the others", "leave this adapter out")
def test_an_adapter_that_is_damaged(here: Path, refused: Refused) -> None:
    folder = own(here, "other")
    pair = load_file(folder / "adapter_model.safetensors")
    pair[f"{AT}.lora_A.weight"][0, 0] = torch.inf
    rewrite(folder, pair, "adapter_model.safetensors")
    refused(run, ADAPTERS + step("linear", "lora, other"))
    run(ADAPTERS.replace(", ./other", "") + step("task_arithmetic", "lora"))
    assert (here / "out/adapter_model.safetensors").exists()


# Models that do not fit


@pytest.mark.refusal(
    "… does not fit: … …", "the merge of what all have", "merge fine-tunes of one base model"
)
@pytest.mark.parametrize("unmatched", ["drop", "keep"])
def test_a_tensor_that_not_all_have(unmatched: str, here: Path, refused: Refused) -> None:
    folder = own(here, "code")
    rewrite(folder, {**load_file(folder / "model.safetensors"), MASK: torch.ones(3)})
    assert "unmatched" in refused(run, MODELS.replace("code, ./math", "math, ./code") + MEAN)
    run(MODELS.replace("code, ./math", "math, ./code") + MEAN + f"unmatched: {unmatched}\n")
    out = nano.load(Path("out"))
    assert (MASK in out) is (unmatched == "keep")
    out.pop(MASK, None)
    code, math = nano.load(here / "code"), nano.load(here / "math")
    assert all(torch.allclose(t, (code[n] + math[n]) / 2, atol=1e-6) for n, t in out.items())


@pytest.mark.refusal(
    "… of the weights of … have a counterpart in all other models: `unmatched:` is for a few "
    "tensors that not all have",
    "the merge of the others",
)
def test_a_stranger_is_not_dropped_in_silence(here: Path, refused: Refused) -> None:
    folder = own(here, "code")
    strange = {f"other.{n}": t for n, t in load_file(folder / "model.safetensors").items()}
    rewrite(folder, strange)
    refused(run, MODELS + MEAN + "unmatched: drop\n")
    run((MODELS + MEAN).replace("code", "base"))
    assert_mean(here / "base", here / "math")


@pytest.mark.refusal(
    "the vocabularies differ, and … has no … to tell how (…)", "the merge, token by token"
)
def test_a_vocabulary_without_a_tokenizer(here: Path, refused: Refused) -> None:
    (here / "code").unlink()
    folder = nano.save(here / "code", nano.weights(3, vocabulary=24))
    tokenizer = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    refused(run, BASED + step("task_arithmetic"))
    (folder / "tokenizer.json").write_text(tokenizer)
    (folder / "tokenizer_config.json").write_text("{}")
    run(BASED + step("task_arithmetic"))
    assert nano.load(Path("out"))["lm_head.weight"].shape[0] == nano.VOCABULARY


@pytest.mark.refusal(
    "the vocabularies differ, and no tensor of … has as many rows as its config's vocab_size, …",
    "the merge, token by token",
)
def test_a_config_with_another_vocabulary(here: Path, refused: Refused) -> None:
    (here / "code").unlink()
    folder = nano.save(here / "code", nano.weights(3, vocabulary=24))
    configure(folder, vocab_size=25)
    refused(run, BASED + step("task_arithmetic"))
    configure(folder, vocab_size=24)
    run(BASED + step("task_arithmetic"))
    assert nano.load(Path("out"))["lm_head.weight"].shape[0] == nano.VOCABULARY


@pytest.mark.refusal("… has no tokenizer files", "the merge with the tokenizer of another model")
def test_a_tokenizer_that_is_not_there(here: Path, refused: Refused) -> None:
    folder = own(here, "code")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    refused(run, MODELS + MEAN + "tokenizer: code\n")
    run(MODELS + MEAN + "tokenizer: math\n")
    assert Path("out/tokenizer.json").exists()


@pytest.mark.refusal(
    "the config of … does not say how many layers it has: none of … is …", "the merge, unsliced"
)
def test_slices_of_a_config_without_layers(here: Path, refused: Refused) -> None:
    for name in ("code", "math"):  # of a kind that transformers knows it would make up 30 layers
        configure(own(here, name), num_hidden_layers=None, model_type="unheard-of")
    refused(run, MODELS + SLICES % 2)
    run(MODELS + MEAN)
    assert_mean(here / "code", here / "math")


@pytest.mark.refusal(
    "the model has no layers: no tensor has a number in its name", "the merge, unsliced"
)
def test_slices_of_a_model_without_layers(here: Path, refused: Refused) -> None:
    for name in ("code", "math"):
        (here / name).unlink()
        found = nano.weights(ord(name[0]))
        outside = {n: weight for n, weight in found.items() if ".layers." not in n}
        nano.save(here / name, outside, tokenizer=False)
    refused(run, MODELS + SLICES % 2)
    run(MODELS + MEAN)
    assert_mean(here / "code", here / "math")


# Adapters


@pytest.mark.refusal("the adapter_config.json of … cannot be believed: …", "the merge")
@pytest.mark.parametrize(
    ("key", "value"),
    [("lora_alpha", "16"), ("alpha_pattern", ["q_proj"]), ("alpha_pattern", {"*q": 3}), ("r", 0)],
)
def test_an_odd_adapter_config(key: str, value: Any, here: Path, refused: Refused) -> None:
    folder = own(here, "lora")
    kept = json.loads((folder / "adapter_config.json").read_text()).get(key)
    configure(folder, "adapter_config.json", **{key: value})
    refused(run, ADDED)
    configure(folder, "adapter_config.json", **{key: kept})
    run(ADDED)
    assert_added()


@pytest.mark.refusal(
    "the adapter … changes …, which its base does not have", "the adapter on its own base"
)
def test_an_adapter_of_another_model(here: Path, refused: Refused) -> None:
    (here / "base").rename(here / "right")
    deep = {n.replace("layers.0", "layers.7"): t for n, t in nano.load(here / "right").items()}
    nano.save(here / "base", deep, config=nano.CONFIG | {"architectures": ["Unknown"]})
    refused(run, ADDED)
    shutil.rmtree(here / "base")
    (here / "right").rename(here / "base")
    run(ADDED)
    assert_added()


@pytest.mark.refusal(
    "the adapter … changes … as …, in its base it is …", "the adapter on its own base"
)
def test_an_adapter_of_a_wider_model(here: Path, refused: Refused) -> None:
    (here / "base").rename(here / "right")
    wide = {n: torch.cat([t, t]) for n, t in nano.load(here / "right").items()}
    nano.save(here / "base", wide)
    refused(run, ADDED)
    shutil.rmtree(here / "base")
    (here / "right").rename(here / "base")
    run(ADDED)
    assert_added()


@pytest.mark.refusal(
    "the adapter … changes … as …, in its base it is …", "an adapter with more tokens than its base"
)
def test_an_adapter_that_added_tokens(here: Path, refused: Refused) -> None:
    base, head = nano.load(here / "base"), torch.randn(nano.VOCABULARY + 2, nano.WIDTH)
    folder = own(here, "lora")
    pair = load_file(folder / "adapter_model.safetensors")
    whole = {"base_model.model.lm_head.weight": head}
    rewrite(folder, pair | whole, "adapter_model.safetensors")
    assert "resize_token_embeddings()" in refused(run, ADDED)
    wide = transformers.AutoModelForCausalLM.from_pretrained(here / "base")
    wide.resize_token_embeddings(nano.VOCABULARY + 2, mean_resizing=False)
    wide.save_pretrained(here / "wide")
    more = nano.words(nano.VOCABULARY, "<a>", "<b>")
    for file in (here / "wide" / "tokenizer.json", folder / "tokenizer.json"):
        file.write_text(more)
    merge_of = ADDED.replace("./base", "./wide")
    run(merge_of.replace("./lora]", "./lora, ./math]").replace("lora]", "lora, math]"))
    made, math = nano.load(Path("out")), nano.load(here / "math")["lm_head.weight"]
    rows = nano.VOCABULARY
    torch.testing.assert_close(made["lm_head.weight"][rows:], head[rows:])
    expected = head[:rows] + math - base["lm_head.weight"]
    torch.testing.assert_close(made["lm_head.weight"][:rows], expected)


@pytest.mark.refusal("… holds …, which is no tensor of a LoRA as PEFT stores it", "the merge")
def test_factors_under_other_names(here: Path, refused: Refused) -> None:
    folder = own(here, "lora")
    pair = load_file(folder / "adapter_model.safetensors")
    odd = {
        n.replace("lora_A", "lora_down").replace("lora_B", "lora_up"): t for n, t in pair.items()
    }
    rewrite(folder, odd, "adapter_model.safetensors")
    refused(run, ADDED)
    rewrite(folder, pair, "adapter_model.safetensors")
    run(ADDED)
    assert_added()


@pytest.mark.refusal(
    "… brings … whole (modules_to_save), … does not", "a full model of both adapters"
)
def test_one_adapter_brings_a_whole_tensor(here: Path, refused: Refused) -> None:
    whole = {"base_model.model.lm_head.weight": torch.randn(nano.VOCABULARY, nano.WIDTH)}
    folder = own(here, "lora")
    pair = load_file(folder / "adapter_model.safetensors")
    rewrite(folder, pair | whole, "adapter_model.safetensors")
    refused(run, ADAPTERS + step("linear", "lora, other"))
    both = BASED.replace("code", "lora").replace("math", "other")
    run(both + step("task_arithmetic", "lora, other"))
    assert "lm_head.weight" in nano.load(Path("out"))


@pytest.mark.refusal(
    "… bring … whole, with different values, and only a mean can merge that",
    "the mean, or a full model of both adapters",
)
def test_adapters_bring_different_whole_tensors(here: Path, refused: Refused) -> None:
    for seed, name in enumerate(("lora", "other")):
        folder = own(here, name)
        head = nano.weights(seed + 5)["lm_head.weight"]
        pair = load_file(folder / "adapter_model.safetensors")
        whole = {"base_model.model.lm_head.weight": head}
        rewrite(folder, pair | whole, "adapter_model.safetensors")
    refused(run, ADAPTERS + step("ties", "lora, other"))
    run(ADAPTERS + step("linear", "lora, other"), "mean")
    both = BASED.replace("code", "lora").replace("math", "other")
    run(both + step("ties", "lora, other"))
    assert "lm_head.weight" in nano.load(Path("out"))


@pytest.mark.refusal("… changes … as …, … as …", "the merge of the one that fits")
def test_adapters_of_different_models(here: Path, refused: Refused) -> None:
    folder = own(here, "other")
    pair = {f"{AT}.lora_A.weight": torch.ones(2, 8), f"{AT}.lora_B.weight": torch.ones(8, 2)}
    rewrite(folder, pair, "adapter_model.safetensors")
    refused(run, ADAPTERS + step("linear", "lora, other"))
    run(ADDED)
    assert_added()


@pytest.mark.refusal(
    "`check` looks at merges into a model, and the recipe says `output: adapter`",
    "the merged adapter",
)
def test_check_of_an_adapter(here: Path, refused: Refused) -> None:
    recipe = ADAPTERS + step("linear", "lora, other")
    (here / "recipe.yaml").write_text(recipe)
    refused(check, "recipe.yaml")
    run(recipe)
    assert (here / "out/adapter_model.safetensors").exists()


# Folders


@pytest.mark.refusal("… exists already", "the merge in its place")
def test_an_output_that_is_there(here: Path, refused: Refused) -> None:
    run(MODELS + MEAN)
    refused(run, MODELS + MEAN)
    run(MODELS + MEAN, overwrite=True)


@pytest.mark.refusal("… exists already, and is not a folder that a merge made", "the merge")
def test_an_output_of_somebody_else(here: Path, refused: Refused) -> None:
    (here / "out").mkdir()
    (here / "out/mine.txt").write_text("mine")
    refused(run, MODELS + MEAN, overwrite=True)
    run(MODELS + MEAN, "other-out")
    assert (here / "out/mine.txt").read_text() == "mine"


@pytest.mark.refusal(
    "… holds …, which no merge made and --overwrite would delete", "the merge in its place"
)
def test_an_output_with_a_folder_in_it(here: Path, refused: Refused) -> None:
    run(MODELS + MEAN)
    (here / "out/mine").mkdir()
    refused(run, MODELS + MEAN, overwrite=True)
    shutil.move(here / "out/mine", here / "mine")
    run(MODELS + MEAN, overwrite=True)


@pytest.mark.refusal("… is one of the inputs", "the merge elsewhere")
def test_an_output_that_is_an_input(here: Path, refused: Refused) -> None:
    own(here, "code")
    refused(run, MODELS + MEAN, "code", overwrite=True)
    run(MODELS + MEAN)


@pytest.mark.refusal("there is no folder …", "the merge")
def test_a_folder_that_is_not_there(here: Path, refused: Refused) -> None:
    refused(run, (MODELS + MEAN).replace("./code", "./cdoe").replace("[code", "[cdoe"))
    run(MODELS + MEAN)


@pytest.mark.refusal("there is no file …", "a recipe that merges (tests/cli/plan/test_command.py)")
def test_a_recipe_that_is_not_there(here: Path, refused: Refused) -> None:
    assert "plan MODEL MODEL -o plan.yaml" in refused(merge, "plan.yaml", "out")


@pytest.mark.refusal("… is not a folder that simmerge-hub merge made", "a push")
def test_a_push_of_something_else(here: Path, refused: Refused, org: str) -> None:
    refused(push, "base", f"{org}/merged")
    run(MODELS + MEAN)
    assert push("out", f"{org}/merged")


@pytest.mark.refusal("… is not what the merge wrote: …", "a push of the merge made again")
def test_a_push_of_changed_weights(here: Path, refused: Refused, org: str) -> None:
    run(MODELS + MEAN)
    configure(here / "out", bos_token_id=7)
    refused(push, "out", f"{org}/merged")
    run(MODELS + MEAN, overwrite=True)
    assert push("out", f"{org}/merged")


def with_folders(published: str) -> str:
    """The recipe of a card with `folder: <path>` at the entries of the family's folders."""
    lines = []
    for line in published.splitlines():
        name = line.rpartition("name: ")[2]
        lines.append(line)
        if "name:" in line and name in ("code", "math"):
            lines.append(f"{line.partition('name:')[0].replace('-', ' ')}folder: ./{name}")
    return "\n".join(lines)


@pytest.mark.refusal("… is not what the recipe was made from: digest …, expected …", "the merge")
def test_a_folder_that_changed(here: Path, refused: Refused) -> None:
    run(MODELS + MEAN)
    pinned = with_folders((here / "out/simmerge.yaml").read_text())
    folder = own(here, "code")
    kept = load_file(folder / "model.safetensors")
    rewrite(folder, kept | {"lm_head.weight": torch.zeros(nano.VOCABULARY, nano.WIDTH)})
    refused(run, pinned, "again")
    shutil.rmtree(folder)
    nano.save(folder, nano.tuned(nano.weights(), 1))  # as the family's
    run(pinned, "again")
    assert_mean(here / "code", here / "math")


@pytest.mark.refusal(
    "… was a folder, and recipes keep no path of one (digest …)",
    "the same merge, the digest checked",
)
def test_a_card_of_another_machine(here: Path, refused: Refused) -> None:
    run(MODELS + MEAN)
    published = (here / "out/simmerge.yaml").read_text()
    assert "folder:" not in published
    refused(run, published, "again")
    run(with_folders(published), "again")
    assert_mean(here / "code", here / "math")
    assert nano.load(here / "again").keys() == nano.load(here / "out").keys()
