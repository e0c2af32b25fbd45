"""Merges that see activations, beside float64 arithmetic on what plain passes feed every layer."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

import simmerge_hub
from simmerge_hub.errors import OperatorError, RecipeError
from simmerge_hub.merger import MergeReport, merge, run
from simmerge_hub.operators.regression.regmean import LEAST_TOKENS
from simmerge_hub.recipe import RECIPE_FILE, Recipe, Source, Step, load
from simmerge_hub.recipe.calibration import Calibration, Prompts
from simmerge_hub.signatures.probing import layerwise
from tests.activations import PlainInputs, plain_inputs, random_model
from tests.signatures.conftest import letters, perturb, save

TEXTS = {
    "a": ["sort abcdefgh>", "reverse it>", "copy this and that", "shift the letters by one>"],
    "b": ["12 + 30 =", "7 * 6 =", "one hundred less 3 is", "how many are there in all?"],
    "c": ["bonjour, ca va", "guten Tag", "hola a todos los que leen", "ciao, come stai"],
}
BOTH = ("a", "b")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_texts(folder: Path) -> dict[str, tuple[Prompts, ...]]:
    """Each model's own prompts, as files."""
    sets = {}
    for name, texts in TEXTS.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
        sets[name] = (Prompts(source=str(path)),)
    return sets


def make_family(folder: Path, architecture: str, names: Sequence[str] = BOTH, **how: Any) -> None:
    """A base and models near it, with a tokenizer."""
    for seed, name in enumerate(("base", *names)):
        model = perturb(random_model(architecture), 0.3 * (seed > 0), seed)
        save(model, folder / name, **how)


def recipe(folder: Path, names: Sequence[str] = BOTH, answers: int = 0, **parameters: Any):
    sets = write_texts(folder)
    return Recipe(
        base=Source(name="base", folder=folder / "base"),
        models=tuple(Source(name=n, folder=folder / n) for n in names),
        steps=(Step(operator="regmean", models=tuple(names), parameters=parameters),),
        calibration=Calibration(prompts={n: sets[n] for n in names}, answers=answers),
    )


def load_model(folder: Path) -> PreTrainedModel:
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    return model.eval()


def tokens_of(texts: Sequence[str]) -> list[tuple[int, ...]]:
    tokenizer = letters()
    return [tuple(tokenizer(text)["input_ids"]) for text in texts]


def regress(matrices: Sequence[Tensor], fed: Sequence[Tensor], alpha: float) -> Tensor:
    """Σ WᵢAᵢ (ΣA)⁻¹ in float64."""
    damped = []
    for tokens in fed:
        gram = tokens.double().T @ tokens.double()
        gram = gram / gram.diagonal().mean()
        own = gram.diagonal() + 1e-6
        gram = gram * alpha
        gram.diagonal().copy_(own)
        damped.append(gram)
    total = sum(m.double() @ a for m, a in zip(matrices, damped, strict=True))
    return total @ torch.linalg.inv(torch.stack(damped).sum(0))


def merge_by_hand(
    models: Sequence[PreTrainedModel], fed: Sequence[PlainInputs], alpha: float = 0.9
) -> tuple[dict[str, Tensor], set[str], set[str]]:
    """Parameter by parameter; names of those regressed (in part), and of those too scarcely fed."""
    merged, regressed, scarce = {}, set(), set()
    embedding = models[0].get_input_embeddings().weight
    states = [dict(model.named_parameters()) for model in models]
    for name, first in states[0].items():
        tensors = [state[name].detach().double() for state in states]
        mean = torch.stack(tensors).mean(0)
        merged[name] = mean
        if first is embedding or first.ndim not in (2, 3):
            continue
        for number in range(len(first)) if first.ndim == 3 else [0]:
            inputs = [each.inputs.get((name, number)) for each in fed]
            if all(each is None for each in inputs):
                continue
            if any(each is None or len(each) < LEAST_TOKENS for each in inputs):
                scarce.add(name)
                continue
            regressed.add(name)
            if first.ndim == 3 and name in fed[0].turned:
                mean[number] = regress([t[number].T for t in tensors], inputs, alpha).T
            elif first.ndim == 3:
                mean[number] = regress([t[number] for t in tensors], inputs, alpha)
            elif name in fed[0].turned:
                merged[name] = regress([t.T for t in tensors], inputs, alpha).T
            else:
                merged[name] = regress(tensors, inputs, alpha)
    return merged, regressed, scarce


def merge_as_it_runs_by_hand(
    models: Sequence[PreTrainedModel],
    texts: Sequence[Sequence[tuple[int, ...]]],
    own: Sequence[str] = (),
) -> dict[str, Tensor]:
    """RegMean++: of each layer, what it is fed where all before it are those of the merge.

    But for what is named `own`, which each model keeps.
    """
    layers = layerwise.decoder_layers(models[0])
    of_layer = [{id(p) for p in layer.parameters()} for layer in layers]
    named = dict(models[0].named_parameters())
    inside = [[n for n, p in named.items() if id(p) in ids] for ids in of_layer]
    head = [n for n, p in named.items() if p is models[0].get_output_embeddings().weight]
    if models[0].get_input_embeddings().weight is models[0].get_output_embeddings().weight:
        head = []
    outside = [n for n in named if n not in {*chain(*inside), *head}]
    running, merged = [deepcopy(model) for model in models], {}
    stored = [n for n, _ in models[0].named_buffers() if n.endswith("e_score_correction_bias")]
    for names in (outside, *inside, head):
        fed = [plain_inputs(m, some) for m, some in zip(running, texts, strict=True)]
        values, *_ = merge_by_hand(models, fed)
        for name in names:
            merged[name] = values[name]
            for model in running if name not in own else ():
                model.get_parameter(name).data.copy_(values[name])
        for name in stored:
            if any(name.rpartition(".")[0] == n.rpartition(".")[0] for n in names):
                mean = torch.stack([model.get_buffer(name) for model in models]).mean(0)
                for model in running:
                    model.get_buffer(name).copy_(mean)
    return merged


def compare(
    out: Path, folders: Sequence[Path], names: Sequence[str] = BOTH
) -> tuple[set[str], set[str]]:
    models = [load_model(folder) for folder in folders]
    fed = [plain_inputs(m, tokens_of(TEXTS[n])) for m, n in zip(models, names, strict=True)]
    expected, regressed, scarce = merge_by_hand(models, fed)
    merged = dict(load_model(out).named_parameters())
    assert merged.keys() == expected.keys()
    for name, tensor in expected.items():
        atol = 1e-5 * float(tensor.abs().max())
        torch.testing.assert_close(merged[name].double(), tensor, rtol=0, atol=atol, msg=name)
    assert any(  # it is not what a mean gives
        not torch.allclose(expected[n], sum(m.get_parameter(n).double() for m in models) / 2)
        for n in regressed
    )
    return regressed, scarce


@pytest.mark.parametrize(
    "architecture",
    ["llama", "llama-tied", "qwen3", "gemma3", "gpt2", "mixtral", "qwen3-moe", "deepseek-v3",
     "jamba", "gpt-neox", "gpt-oss", "llama4"],
)  # fmt: skip
def test_a_merge_of_two_is_the_arithmetic_on_plain_passes(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layerwise, "BATCH_TOKENS", 60)
    make_family(tmp_path, architecture, max_shard_size="40KB")
    report = simmerge_hub.merge(recipe(tmp_path), tmp_path / "out")
    regressed, scarce = compare(tmp_path / "out", [tmp_path / n for n in BOTH])
    model = load_model(tmp_path / "a")
    head = model.get_output_embeddings().weight
    tied = head is model.get_input_embeddings().weight
    assert any(p is head for n, p in model.named_parameters() if n in regressed) != tied
    assert len(regressed) >= 7 if architecture != "gpt2" else len(regressed) == 12
    fewest = f"with fewer than {LEAST_TOKENS} tokens"
    assert any(fewest in note for note in report.notes) == bool(scarce)


@pytest.mark.parametrize(
    "architecture",
    [
        "llama",
        "llama-tied",
        "gemma3",
        "gpt2",
        "mixtral",
        "deepseek-v3",
        "jamba",
        "gpt-neox",
        "llama4",
    ],
)
def test_a_merge_may_be_fed_what_it_leaves_itself(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layerwise, "BATCH_TOKENS", 60)
    make_family(tmp_path, architecture)
    simmerge_hub.merge(recipe(tmp_path, inputs="merge"), tmp_path / "out")
    models = [load_model(tmp_path / n) for n in BOTH]
    expected = merge_as_it_runs_by_hand(models, [tokens_of(TEXTS[n]) for n in BOTH])
    merged = dict(load_model(tmp_path / "out").named_parameters())
    assert merged.keys() == expected.keys()
    for name, tensor in expected.items():
        atol = 3e-5 * float(tensor.abs().max())
        torch.testing.assert_close(merged[name].double(), tensor, rtol=0, atol=atol, msg=name)
    simmerge_hub.merge(recipe(tmp_path), tmp_path / "alone")
    alone = dict(load_model(tmp_path / "alone").named_parameters())
    assert any(not torch.allclose(alone[n], merged[n], atol=1e-3) for n in merged)


def test_a_merged_buffer_decides_which_experts_the_next_layers_get(tmp_path: Path) -> None:
    """DeepSeek's router has a correction that is stored and is no parameter."""
    make_family(tmp_path, "deepseek-v3")
    models = []
    for seed, name in enumerate(BOTH):
        model = load_model(tmp_path / name)
        generator = torch.Generator().manual_seed(seed)
        for key, buffer in model.named_buffers():
            if key.endswith("e_score_correction_bias"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator))
        save(model, tmp_path / name)
        models.append(load_model(tmp_path / name))
    simmerge_hub.merge(recipe(tmp_path, inputs="merge"), tmp_path / "out")
    expected = merge_as_it_runs_by_hand(models, [tokens_of(TEXTS[n]) for n in BOTH])
    merged = load_model(tmp_path / "out")
    for name, tensor in merged.named_parameters():
        atol = 3e-5 * float(expected[name].abs().max())
        torch.testing.assert_close(tensor.double(), expected[name], rtol=0, atol=atol, msg=name)
    biases = [dict(m.named_buffers()) for m in (merged, *models)]
    names = [n for n in biases[0] if n.endswith("e_score_correction_bias")]
    assert names
    for name in names:
        torch.testing.assert_close(biases[0][name], (biases[1][name] + biases[2][name]) / 2)


def test_a_model_that_ties_its_head_is_fed_the_merged_embedding(tmp_path: Path) -> None:
    """The other has a head of its own: what the first holds goes into two tensors of the merge."""
    make_family(tmp_path, "llama-tied")
    part_head(tmp_path / "b", 0.5)
    wanted = replace(recipe(tmp_path, inputs="merge"), base=None)
    simmerge_hub.merge(wanted, tmp_path / "out")
    part_head(tmp_path / "a", 0.0)
    models = [load_model(tmp_path / n) for n in BOTH]
    expected = merge_as_it_runs_by_hand(models, [tokens_of(TEXTS[n]) for n in BOTH])
    expected["lm_head.weight"] = sum(m.lm_head.weight.double() for m in models) / 2
    merged = dict(load_model(tmp_path / "out").named_parameters())
    assert merged.keys() == expected.keys()
    for name, tensor in expected.items():
        atol = 3e-5 * float(tensor.abs().max())
        torch.testing.assert_close(merged[name].double(), tensor, rtol=0, atol=atol, msg=name)


def test_models_with_different_vocabularies_are_fed_their_own_embeddings(tmp_path: Path) -> None:
    """Rows are put in another order in the output; layers are the merge's all the same."""
    make_family(tmp_path, "llama")
    words = ["model.embed_tokens.weight", "lm_head.weight"]
    models = [load_model(tmp_path / n) for n in BOTH]
    wider = load_model(tmp_path / "b")
    wider.resize_token_embeddings(97, mean_resizing=False)
    save(wider, tmp_path / "b")
    tokenizer = letters()
    tokenizer.add_tokens(["<tool>"], special_tokens=True)
    tokenizer.save_pretrained(tmp_path / "b")
    report = simmerge_hub.merge(recipe(tmp_path, inputs="merge"), tmp_path / "out")
    assert any("each was fed through its own embedding" in note for note in report.notes)
    texts = [tokens_of(TEXTS[n]) for n in BOTH]
    expected = merge_as_it_runs_by_hand(models, texts, words)
    merged = dict(load_model(tmp_path / "out").named_parameters())
    for name in expected.keys() - set(words):
        atol = 3e-5 * float(expected[name].abs().max())
        torch.testing.assert_close(
            merged[name].double(), expected[name], rtol=0, atol=atol, msg=name
        )
    alike = merge_as_it_runs_by_hand(models, texts)  # fed the merged embedding: another merge
    assert any(not torch.allclose(alike[n], expected[n], atol=1e-3) for n in {*alike} - {*words})
    make_family(tmp_path, "llama")
    same = simmerge_hub.merge(recipe(tmp_path, inputs="merge"), tmp_path / "same")
    assert not any("own embedding" in note for note in same.notes)


def part_head(folder: Path, distance: float) -> None:
    """Store a head so far from the embedding that it was tied to."""
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    embedding = tensors["model.embed_tokens.weight"]
    random = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(3))
    save_file(
        tensors | {"lm_head.weight": embedding + distance * random}, weights, {"format": "pt"}
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))


def test_three_models_at_once(tmp_path: Path) -> None:
    make_family(tmp_path, "llama", "abc")
    simmerge_hub.merge(recipe(tmp_path, "abc"), tmp_path / "out")
    compare(tmp_path / "out", [tmp_path / n for n in "abc"], "abc")


def test_fused_experts_as_they_are_stored(tmp_path: Path) -> None:
    """Not one tensor for each expert, as the Hub has them, but one of three dimensions."""
    make_family(tmp_path, "mixtral", save_original_format=False)
    simmerge_hub.merge(recipe(tmp_path), tmp_path / "out")
    regressed, _ = compare(tmp_path / "out", [tmp_path / n for n in BOTH])
    assert any("gate_up_proj" in name for name in regressed)


def test_an_adapter_is_the_model_it_makes(tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    make_family(tmp_path, "llama")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned = get_peft_model(
            load_model(tmp_path / "base"),
            LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"),
        )
        generator = torch.Generator().manual_seed(5)
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        tuned.save_pretrained(str(tmp_path / "lora"))
        base = load_model(tmp_path / "base")
        folded = PeftModel.from_pretrained(base, str(tmp_path / "lora")).merge_and_unload()
    save(folded, tmp_path / "folded")
    wanted = recipe(tmp_path)
    lora = replace(wanted, models=(Source(name="a", folder=tmp_path / "lora"), wanted.models[1]))
    simmerge_hub.merge(lora, tmp_path / "out")
    compare(tmp_path / "out", [tmp_path / "folded", tmp_path / "b"])
    steps = (replace(lora.steps[0], parameters={"inputs": "merge"}),)
    simmerge_hub.merge(replace(lora, steps=steps), tmp_path / "as-it-runs")
    models = [load_model(tmp_path / n) for n in ("folded", "b")]
    expected = merge_as_it_runs_by_hand(models, [tokens_of(TEXTS[n]) for n in BOTH])
    for name, tensor in load_model(tmp_path / "as-it-runs").named_parameters():
        atol = 3e-5 * float(expected[name].abs().max())
        torch.testing.assert_close(tensor.double(), expected[name], rtol=0, atol=atol, msg=name)


def test_deltas_are_summed_where_nothing_is_fed(tmp_path: Path) -> None:
    make_family(tmp_path, "llama")
    merge(recipe(tmp_path), tmp_path / "mean")
    merge(recipe(tmp_path, others="sum"), tmp_path / "sum")
    mean, total, base, a, b = (
        dict(load_model(tmp_path / n).named_parameters()) for n in ("mean", "sum", "base", *BOTH)
    )
    for name, tensor in total.items():
        fed = "proj" in name or "head" in name
        expected = mean[name] if fed else a[name] + b[name] - base[name]
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-5)


def test_answers_are_fed_too(tmp_path: Path) -> None:
    make_family(tmp_path, "llama")
    report = merge(recipe(tmp_path, answers=6), tmp_path / "out")
    models, fed, counts = [load_model(tmp_path / n) for n in BOTH], [], []
    for name, model in zip(BOTH, models, strict=True):
        sequences = []
        for ids in tokens_of(TEXTS[name]):
            text = list(ids)
            while len(text) < len(ids) + 6 and (text[-1] != 2 or len(text) == len(ids)):
                with torch.no_grad():
                    text.append(int(model(torch.tensor([text])).logits[0, -1].argmax()))
            sequences.append(text)
        fed.append(plain_inputs(model, sequences))
        counts.append(sum(map(len, sequences)))
    expected, *_ = merge_by_hand(models, fed)
    for name, tensor in load_model(tmp_path / "out").named_parameters():
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(tensor.double(), expected[name], rtol=0, atol=1e-5 * scale)
    assert any(f"a {counts[0]}, b {counts[1]} (sha256" in note for note in report.notes)


def test_a_vision_tower_is_averaged_and_named(tmp_path: Path) -> None:
    make_family(tmp_path, "gemma3-vision")
    report = merge(recipe(tmp_path), tmp_path / "out")
    regressed, _ = compare(tmp_path / "out", [tmp_path / n for n in BOTH])
    assert regressed
    assert not any("vision" in name for name in regressed)
    assert any("passed by no prompt" in note and "vision" in note for note in report.notes)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.mark.parametrize("inputs", ["models", "merge"])
def test_threads_and_blocks_do_not_change_a_byte(inputs: str, tmp_path: Path) -> None:
    make_family(tmp_path, "mixtral")
    wanted = replace(recipe(tmp_path, answers=3, inputs=inputs), shard_size=30_000)
    merge(wanted, tmp_path / "one", threads=1)
    merge(wanted, tmp_path / "two", threads=2)
    assert len(list((tmp_path / "one").glob("*.safetensors"))) > 2
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


DRIVER = """
import os, signal, sys
from pathlib import Path

import accelerate, torch
from transformers import AutoTokenizer, GenerationConfig, LlamaForCausalLM
from simmerge_hub.merger import merge
from simmerge_hub.recipe import load

torch.set_num_threads(1)
recipe, folder = load(sys.argv[1])[0], Path(sys.argv[2])

def run(out, kill_after=0):
    def kill(_name, done, _total):
        if done == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        merge(recipe, out, progress=kill)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

print(run(folder / "whole"))
for after in map(int, sys.argv[3:]):
    out = folder / str(after)
    print(run(out, after), out.exists(), run(out))
"""


@pytest.mark.parametrize("inputs", ["models", "merge"])
def test_killed_merges_end_with_the_same_bytes(inputs: str, tmp_path: Path) -> None:
    """In the first layer, in the second, and with all 30 tensors done."""
    make_family(tmp_path, "llama")
    wanted = replace(recipe(tmp_path, answers=2, inputs=inputs), shard_size=30_000)
    (tmp_path / "recipe.yaml").write_text(wanted.to_yaml())
    moments = ["3", "12", "30"]
    ran = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            DRIVER,
            tmp_path / "recipe.yaml",
            tmp_path,
            *moments,
        ],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    first, *rest = [line.split() for line in ran.stdout.splitlines()]
    assert first == ["0"], ran.stderr
    assert rest == [[str(-signal.SIGKILL), "False", "0"]] * len(moments), ran.stderr
    for moment in moments:
        assert digests(tmp_path / moment) == digests(tmp_path / "whole")


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    make_family(tmp_path, "llama")

    def interrupt(_name: str, done: int, _total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(recipe(tmp_path), tmp_path / "out", progress=interrupt)
    again: list[int] = []
    merge(recipe(tmp_path), tmp_path / "out", progress=lambda _n, done, _t: again.append(done))
    assert again[0] >= 20
    compare(tmp_path / "out", [tmp_path / n for n in BOTH])


@pytest.fixture
def merged(tmp_path: Path) -> tuple[Recipe, MergeReport, Path]:
    """A merge of two Llamas: the recipe, the report and where all of it lies."""
    make_family(tmp_path, "llama")
    wanted = recipe(tmp_path)
    return wanted, merge(wanted, tmp_path / "out"), tmp_path


def test_models_are_fed_in_one_way_only(tmp_path: Path) -> None:
    make_family(tmp_path, "llama")
    wanted = recipe(tmp_path, inputs="merge")
    first = replace(wanted.steps[0], name="first", parameters={})
    last = Step(operator="linear", models=("first", "second"), parameters={})
    both = (first, replace(wanted.steps[0], name="second"), last)
    with pytest.raises(OperatorError, match="one step looks at what the models' own layers"):
        merge(replace(wanted, steps=both), tmp_path / "out")


def test_an_output_in_bfloat16_is_what_runs_on(tmp_path: Path) -> None:
    """The layers after it are fed what the rounded layer leaves."""
    make_family(tmp_path, "llama")
    merge(recipe(tmp_path, inputs="merge"), tmp_path / "wide")
    merge(replace(recipe(tmp_path, inputs="merge"), dtype="bfloat16"), tmp_path / "narrow")
    wide, narrow = (dict(load_model(tmp_path / n).named_parameters()) for n in ("wide", "narrow"))
    for name, tensor in wide.items():
        scale = float(tensor.abs().max())
        torch.testing.assert_close(narrow[name].float(), tensor, rtol=0, atol=0.05 * scale)
    last = "model.layers.2.mlp.down_proj.weight"
    assert not torch.equal(narrow[last], wide[last].to(torch.bfloat16))


def test_prompts_are_pinned_and_others_refused(merged: tuple[Recipe, MergeReport, Path]) -> None:
    wanted, report, folder = merged
    assert report.recipe.calibration and wanted.calibration
    for name, (each,) in report.recipe.calibration.prompts.items():
        assert each.source == wanted.calibration.prompts[name][0].source
        assert each.digest == hashlib.sha256(json.dumps(TEXTS[name]).encode()).hexdigest()
    again = merge(report.recipe, folder / "again")
    assert digests(folder / "again") == digests(folder / "out")
    (folder / "b.jsonl").write_text('{"prompt": "something else"}\n')
    with pytest.raises(RecipeError, match=r"b\.jsonl of b are not those the recipe was") as caught:
        merge(again.recipe, folder / "third")
    assert "leave out the digest" in caught.value.hint
    assert not (folder / "third").exists()
    merge(wanted, folder / "third")  # as the hint says


def test_the_recipe_beside_the_weights_names_no_folder(
    merged: tuple[Recipe, MergeReport, Path],
) -> None:
    _, report, folder = merged
    text = (folder / "out" / RECIPE_FILE).read_text()
    assert str(folder) not in text
    stated = load(folder / "out")[0].calibration
    assert stated and report.recipe.calibration
    assert Path(stated.prompts["a"][0].source).name == "a.jsonl"
    assert stated.prompts["a"][0].digest == report.recipe.calibration.prompts["a"][0].digest


def test_notes_say_what_was_fed_and_what_was_not(
    merged: tuple[Recipe, MergeReport, Path],
) -> None:
    fed, unfed = merged[1].notes[-2:]
    counts = {name: sum(map(len, tokens_of(TEXTS[name]))) for name in BOTH}
    assert f"a {counts['a']}, b {counts['b']} (sha256 " in fed
    assert "another machine may answer or round otherwise" in fed
    assert unfed.startswith("1 tensor passed by no prompt, or no linear layer")
    assert "model.embed_tokens.weight" in unfed


def test_prompts_that_look_alike_are_named(tmp_path: Path) -> None:
    make_family(tmp_path, "llama")
    wanted = recipe(tmp_path)
    assert wanted.calibration
    prompts = dict.fromkeys(BOTH, wanted.calibration.prompts["a"])
    same = replace(wanted, calibration=Calibration(prompts=prompts))
    notes = merge(same, tmp_path / "out").notes
    assert [note for note in notes if note.startswith("the prompts of a and b look alike")]


@pytest.mark.parametrize("kind", ["slices", "chained"])
def test_what_cannot_be_is_refused_before_anything_is_fetched(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "fetch_all", lambda *_: pytest.fail("inputs were fetched"))
    wanted, steps = recipe(tmp_path), recipe(tmp_path).steps
    if kind == "slices":
        part = simmerge_hub.recipe.Slice(layers={"a": (0, 1), "b": (0, 1)}, steps=steps)
        wanted = replace(wanted, steps=(), slices=(part,))
    else:
        first = Step(operator="linear", models=BOTH, parameters={}, name="mean")
        again = Step(operator="regmean", models=("mean", "b"), parameters={})
        wanted = replace(wanted, steps=(first, again))
    with pytest.raises(OperatorError, match="regmean") as caught:
        merge(wanted, tmp_path / "out")
    assert caught.value.hint


def test_a_step_on_the_result(tmp_path: Path) -> None:
    """Half of the merge and half of a model that was never run."""
    make_family(tmp_path, "llama", "abc")
    wanted = recipe(tmp_path)
    merge(wanted, tmp_path / "one")
    steps = (
        replace(wanted.steps[0], name="one"),
        Step(operator="linear", models=("one", "c"), parameters={}),
    )
    models = (*wanted.models, Source(name="c", folder=tmp_path / "c"))
    merge(replace(wanted, models=models, steps=steps), tmp_path / "two")
    one, two, third = (
        dict(load_model(tmp_path / n).named_parameters()) for n in ("one", "two", "c")
    )
    for name, tensor in two.items():
        torch.testing.assert_close(tensor, (one[name] + third[name]) / 2, rtol=0, atol=1e-5)


def test_a_step_names_its_models_in_an_order_of_its_own(tmp_path: Path) -> None:
    """What a model's layers are fed goes with its weights, wherever a recipe lists it."""
    make_family(tmp_path, "llama")
    wanted = recipe(tmp_path, weights=(0.8, 0.2))
    turned = replace(wanted.steps[0], models=BOTH[::-1], parameters={"weights": (0.2, 0.8)})
    merge(wanted, tmp_path / "one")
    merge(replace(wanted, steps=(turned,)), tmp_path / "other")
    one, other = (dict(load_model(tmp_path / n).named_parameters()) for n in ("one", "other"))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=1e-5, msg=name)


def test_parameters_of_their_own_for_some_tensors(tmp_path: Path) -> None:
    """Tensors that share their inputs do not share a solution with another alpha."""
    make_family(tmp_path, "llama")
    schedule: Mapping[str, Any] = {"filter": {"q_proj": 0.0, "*": 0.9}}
    merge(recipe(tmp_path, alpha=schedule), tmp_path / "mixed")
    merge(recipe(tmp_path, alpha=0.0), tmp_path / "diagonal")
    merge(recipe(tmp_path, alpha=0.9), tmp_path / "whole")
    mixed, diagonal, whole = (
        dict(load_model(tmp_path / n).named_parameters()) for n in ("mixed", "diagonal", "whole")
    )
    for name, tensor in mixed.items():
        assert torch.equal(tensor, (diagonal if "q_proj" in name else whole)[name]), name
    assert not torch.equal(
        mixed["model.layers.0.self_attn.q_proj.weight"],
        whole["model.layers.0.self_attn.q_proj.weight"],
    )
