"""Refusals of recipes: the text is corrected as the hint says, and merges."""

from pathlib import Path

import pytest

from tests import nano
from tests.hints.conftest import Refused, run

MODELS = "simmerge: 1\nmodels: [./code, ./math]\n"
BASED = f"base: ./base\n{MODELS}"
ADAPTERS = "simmerge: 1\nmodels: [./lora, ./other]\noutput: adapter\n"


def step(operator: str, models: str = "code, math", **parameters: object) -> str:
    """A recipe's steps with one step."""
    shown = ", ".join(f"{key}: {value}" for key, value in parameters.items())
    return f"steps: [{{operator: {operator}, models: [{models}], parameters: {{{shown}}}}}]\n"


MEAN = step("linear")
SLICES = (
    "slices: [{layers: {code: [0, 2]}, steps: [{operator: passthrough, models: [code]}]},\n"
    " {layers: {math: [1, %s]}, steps: [{operator: passthrough, models: [math]}]}]\n"
)
MERGEKIT = "merge_method: %s\nmodels:\n- model: ./code\n%s- model: ./math\n%sdtype: float32\n"
OWN = "  parameters: {weight: %s}\n"


CASES = [
    pytest.param(
        MODELS + step("ties"), BASED + step("ties"),
        marks=pytest.mark.refusal(
            "…: … merges differences from a base, and there is no base", "the merge of deltas"
        ),
    ),
    pytest.param(
        MODELS + step("linaer"), MODELS + MEAN,
        marks=pytest.mark.refusal("there is no operator …", "a merge with the operator it means"),
    ),
    pytest.param(
        MODELS + step("linear", weight="[1, 2]"), MODELS + step("linear", weights="[1, 2]"),
        marks=pytest.mark.refusal("… has no parameter …", "the merge"),
    ),
    pytest.param(
        MODELS + step("linear", weights="[1]"), MODELS + step("linear", weights="[1, 2]"),
        marks=pytest.mark.refusal("…: … … for … models", "the merge"),
    ),
    pytest.param(
        MODELS + step("linear", weights="[1, -1]"), MODELS + step("linear", weights="[1, 1]"),
        marks=pytest.mark.refusal("…: the weights … sum to zero", "the merge"),
    ),
    pytest.param(
        MODELS + step("slerp", "code, math, base").replace("base", "code"),
        MODELS + step("linear"),
        marks=pytest.mark.refusal("… merges …, but … are given", "a merge with another operator"),
    ),
    pytest.param(
        BASED + step("ties", density=7), BASED + step("ties", density=0.7),
        marks=pytest.mark.refusal("…, and …", "the merge with a value in range"),
    ),
    pytest.param(
        BASED + step("della", density=0.5, epsilon=0.6),
        BASED + step("della", density=0.5, epsilon=0.4),
        marks=pytest.mark.refusal("density … ± epsilon … is no probability", "the merge"),
    ),
    pytest.param(
        BASED + step("ties", trim="{filter: {mlp: tensor, '*': tensor}}"), BASED + step("ties"),
        marks=pytest.mark.refusal("…: … is the same for all tensors", "the merge"),
    ),
    pytest.param(
        BASED + step("ties", trim="model", density="{gradient: [0.2, 1]}"),
        BASED + step("ties", trim="tensor", density="{gradient: [0.2, 1]}"),
        marks=pytest.mark.refusal(
            "a share of the whole model (trim: model) cannot differ between tensors", "the merge"
        ),
    ),
    pytest.param(
        MODELS + step("linear", weights="[{gradint: [0, 1]}, 1]"),
        MODELS + step("linear", weights="[{gradient: [0, 1]}, 1]"),
        marks=pytest.mark.refusal("…: …", "the merge", "write {gradient"),
    ),
    pytest.param(
        MODELS + MEAN + "dtype: float16\ndtype: float32\n", MODELS + MEAN + "dtype: float32\n",
        marks=pytest.mark.refusal("… cannot be read as YAML: …", "the merge"),
    ),
    pytest.param(
        MODELS + MEAN + "---\n" + MODELS, MODELS + MEAN,
        marks=pytest.mark.refusal(
            "… holds several documents, as for mergekit-multi", "the merge of one recipe"
        ),
    ),
    pytest.param(
        MODELS + MEAN + "merge: yes\n", MODELS + MEAN,
        marks=pytest.mark.refusal("… is no recipe: …", "the merge, written as that page shows"),
    ),
    pytest.param(
        "simmerge: 1\nmodels: [./lora, ./other]\n" + step("linear", "lora, other"),
        BASED.replace("code", "lora").replace("math", "other")
        + step("task_arithmetic", "lora, other"),
        marks=pytest.mark.refusal(
            "… is an adapter, and the recipe has no base", "the adapters added to that base"
        ),
    ),
    pytest.param(
        ADAPTERS.replace("lora", "code") + step("linear", "code, other"),
        ADAPTERS + step("linear", "lora, other"),
        marks=pytest.mark.refusal(
            "… is a full model, and the recipe says `output: adapter`", "one adapter of adapters"
        ),
    ),
    pytest.param(
        ADAPTERS + "tokenizer: union\n" + step("linear", "lora, other"),
        ADAPTERS + step("linear", "lora, other"),
        marks=pytest.mark.refusal(
            "the recipe says `output: adapter` and `tokenizer: …`", "the merged adapter"
        ),
    ),
    pytest.param(
        ADAPTERS + step("slerp", "lora, other"), ADAPTERS + step("nuslerp", "lora, other"),
        marks=pytest.mark.refusal(
            "… looks at the base's weights too, which adapters do not have", "the merged adapter"
        ),
    ),
    pytest.param(
        ADAPTERS + step("ties", "lora, other", trim="model"),
        ADAPTERS + step("ties", "lora, other", trim="tensor"),
        marks=pytest.mark.refusal(
            "… measures all tensors of a model together", "the merged adapter"
        ),
    ),
    pytest.param(
        MODELS + SLICES % 3, MODELS + SLICES % 2,
        marks=pytest.mark.refusal(
            "a slice takes layers … to … of …, which has …", "the slices that are there"
        ),
    ),
    pytest.param(
        MERGEKIT % ("linear", "", OWN % 1), MERGEKIT % ("linear", OWN % 1, OWN % 1),
        marks=pytest.mark.refusal("…: missing required parameter …", "the merge"),
    ),
    pytest.param(
        MERGEKIT % ("linear", OWN % "much", OWN % 1), MERGEKIT % ("linear", OWN % 2, OWN % 1),
        marks=pytest.mark.refusal("…: … is …", "the merge"),
    ),
    pytest.param(
        MERGEKIT.replace("dtype", "parameters: {max_iter: [5, 9]}\ndtype") % ("karcher", "", ""),
        MERGEKIT.replace("dtype", "parameters: {max_iter: 9}\ndtype") % ("karcher", "", ""),
        marks=pytest.mark.refusal("…: … is a gradient, and must be a whole number", "the merge"),
    ),
    pytest.param(
        MERGEKIT % ("linear", OWN % "0,75", OWN % 1), MERGEKIT % ("linear", OWN % 0.75, OWN % 1),
        marks=pytest.mark.refusal("…: …", "the merge", "models[0]"),
    ),
    pytest.param(
        MERGEKIT % ("linear", "  weight: 0.75\n", OWN % 1),
        MERGEKIT % ("linear", OWN % 0.75, OWN % 1),
        marks=pytest.mark.refusal("…: …", "the merge", "models[0]"),
    ),
    pytest.param(
        "simmerge: 1\nbase: ./other\nmodels: [./lora]\n" + step("task_arithmetic", "lora"),
        "simmerge: 1\nbase: ./base\nmodels: [./lora]\n" + step("task_arithmetic", "lora"),
        marks=pytest.mark.refusal("… is an adapter, and the recipe's base", "the merge"),
    ),
    pytest.param(
        MODELS + step("regmean"), MODELS + step("linear"),
        marks=pytest.mark.refusal(
            "… runs each model on unlabelled prompts, and the recipe has none for …",
            "the merge that sees activations (tests/merger/test_activations.py)",
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), CASES)
@pytest.mark.usefixtures("here")
def test_a_corrected_recipe_merges(before: str, after: str, refused: Refused) -> None:
    refused(run, before)
    assert not Path("out").exists()
    run(after)
    written = nano.load(Path("out"))
    assert written
    assert all(bool(t.isfinite().all()) for t in written.values())
