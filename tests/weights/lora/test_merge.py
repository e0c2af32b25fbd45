"""Merged adapters are what PEFT makes of true deltas, where PEFT does."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from simmerge_hub.errors import AlignmentError, CheckpointError, OperatorError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.operators import arm
from simmerge_hub.weights.lora import combination, merge_adapters, write_adapter
from simmerge_hub.weights.lora.folder import adapter_config
from tests import nano
from tests.weights.lora.conftest import Workshop, add_up, error

Make = Callable[..., Workshop]
PLAIN: dict[str, Any] = {"r": 3, "lora_alpha": 7, "target_modules": ["q_proj", "up_proj"]}
GPT2: dict[str, Any] = {"r": 2, "lora_alpha": 3, "target_modules": ["c_attn", "c_proj", "c_fc"]}
PAIRS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "lora": ("llama", PLAIN, PLAIN),
    "two ranks": ("llama", PLAIN, PLAIN | {"r": 5}),
    "rslora and lora": ("llama", PLAIN | {"use_rslora": True}, PLAIN),
    "patterns": (
        "llama",
        PLAIN | {"rank_pattern": {"up_proj": 1, r"layers\.1\..*q_proj": 4}},
        PLAIN | {"alpha_pattern": {"q_proj": 1, "layers.1.mlp.up_proj": 9}},
    ),
    "other modules": ("llama", PLAIN, {"r": 2, "target_modules": ["up_proj", "down_proj"]}),
    "one layer": ("llama", PLAIN | {"layers_to_transform": [1]}, PLAIN),
    "named as a pattern": ("llama", PLAIN | {"target_modules": r".*\.[01]\..*q_proj"}, PLAIN),
    "embeddings": (
        "llama",
        {"r": 2, "lora_alpha": 6, "target_modules": ["embed_tokens", "q_proj"]},
        {"r": 3, "target_modules": ["embed_tokens"]},
    ),
    "head": ("llama", {"r": 2, "target_modules": ["lm_head"]}, PLAIN),
    "gpt2": ("gpt2", GPT2 | {"fan_in_fan_out": True}, GPT2 | {"fan_in_fan_out": True, "r": 4}),
    "gpt2 embeddings": ("gpt2", {"r": 2, "target_modules": ["wte", "c_attn"]}, GPT2),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "first", "second"), PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.7, -0.4)])
def test_a_weighted_sum_is_exact(
    workshop: Make, kind: str, first: Any, second: Any, weights: tuple[float, float]
) -> None:
    shop = workshop(kind)
    two = [shop.adapter("code", 1, **first), shop.adapter("math", 2, **second)]
    report = write_adapter(merge_adapters(two, weights), shop.folder / "both")
    expected = add_up(weights, [shop.deltas(shop.folder / each.name) for each in two])
    assert error(shop.deltas(report.folder), expected) < 1e-6
    assert report.residue == 0
    # the base and the deltas by hand give the model that PEFT loads
    by_hand = shop.load(report.folder).merge_and_unload().state_dict()
    for name, tensor in shop.base.named_parameters():  # a tied head is its embedding
        torch.testing.assert_close(
            by_hand[name], tensor + expected.get(name, torch.zeros(())), rtol=1e-5, atol=1e-5
        )


def test_the_model_answers_as_base_and_deltas(workshop: Make) -> None:
    shop = workshop()
    two = shop.pair(**PLAIN)
    report = write_adapter(merge_adapters(two, (0.5, 0.5)), shop.folder / "both")
    words = torch.arange(12)[None]
    parts = [shop.deltas(shop.folder / each.name) for each in two]
    by_hand = copy.deepcopy(shop.base)
    with torch.no_grad():
        for name, delta in add_up((0.5, 0.5), parts).items():
            by_hand.get_parameter(name).add_(delta)
        logits = shop.load(report.folder).eval()(words).logits
        torch.testing.assert_close(logits, by_hand(words).logits, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(logits, shop.base(words).logits, atol=1e-2)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.7, -0.4)])
def test_cat_and_svd_as_peft(workshop: Make, weights: tuple[float, float]) -> None:
    shop = workshop()
    two = shop.pair(**PLAIN)
    cat = write_adapter(merge_adapters(two, weights), shop.folder / "cat")
    cut = write_adapter(merge_adapters(two, weights, rank=2), shop.folder / "cut")
    theirs = shop.peft(two, weights, combination_type="cat")
    assert error(shop.deltas(cat.folder), theirs) < 1e-6
    theirs = shop.peft(two, weights, combination_type="svd", svd_rank=2)
    assert error(shop.deltas(cut.folder), theirs) < 1e-5
    whole = add_up(weights, [shop.deltas(shop.folder / each.name) for each in two])
    assert error(shop.deltas(cut.folder), whole) == pytest.approx(cut.residue, rel=1e-4)
    assert cut.rank == 2
    assert cut.worst[1] == max(cut.residues.values()) > cut.residue > 0


def test_cat_on_transposed_weights_as_peft(workshop: Make) -> None:
    shop = workshop("gpt2")
    two = shop.pair(**GPT2, fan_in_fan_out=True)
    cut = write_adapter(merge_adapters(two, (1, 1), rank=3), shop.folder / "cut")
    theirs = shop.peft(two, (1, 1), combination_type="svd", svd_rank=3)
    assert error(shop.deltas(cut.folder), theirs) < 1e-5


def test_linear_of_peft_is_no_sum_of_deltas(workshop: Make) -> None:
    """A and B are weighted apart there: the cross terms B₁A₂ and B₂A₁ are added too."""
    shop = workshop()
    two = shop.pair(**PLAIN)
    whole = add_up((0.5, 0.5), [shop.deltas(shop.folder / each.name) for each in two])
    assert error(shop.peft(two, (0.5, 0.5), combination_type="linear"), whole) > 0.5


def test_cat_of_peft_forgets_that_rslora_divides_by_a_root(workshop: Make) -> None:
    """It sets α = r and keeps use_rslora: the sum comes out √r times too large, r = 3 + 3 here."""
    shop = workshop()
    two = shop.pair(**PLAIN, use_rslora=True)
    whole = add_up((1, 1), [shop.deltas(shop.folder / each.name) for each in two])
    theirs = shop.peft(two, (1.0, 1.0), combination_type="cat")
    assert error(theirs, whole) == pytest.approx(6**0.5 - 1, rel=1e-4)
    report = write_adapter(merge_adapters(two, (1, 1)), shop.folder / "ours")
    assert error(shop.deltas(report.folder), whole) < 1e-6


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("density", [0.2, 0.5])
def test_ties_as_peft_on_true_deltas(workshop: Make, kind: str, density: float) -> None:
    """With equal weights w PEFT's ties_svd is ours with scale w: it weighs after the election."""
    shop = workshop(kind)
    two = shop.pair(**(PLAIN if kind == "llama" else GPT2 | {"fan_in_fan_out": True}))
    for weight in (1.0, 0.5):
        ties = combination(arm("ties", density=density, scale=weight), ("code", "math"))
        merge = merge_adapters(two, ties, rank=16)
        ours = write_adapter(merge, shop.folder / f"ties-{weight}")
        how: dict[str, Any] = {"combination_type": "ties_svd", "svd_rank": 16, "density": density}
        theirs = shop.peft(two, (weight, weight), **how)
        assert error(shop.deltas(ours.folder), theirs) < 1e-5
        assert ours.residue < 1e-5
    # unequal weights: ours vote with their weight, as in mergekit; PEFT's count alike in the vote
    weighted = combination(arm("ties", density=density, weights=(0.7, 0.3)), ("code", "math"))
    ours = write_adapter(merge_adapters(two, weighted, rank=16), shop.folder / "unequal")
    theirs = shop.peft(two, (0.7, 0.3), **how)
    assert error(shop.deltas(ours.folder), theirs) > 0.1


def test_a_module_that_one_does_not_have_is_a_zero_delta(workshop: Make) -> None:
    shop = workshop()
    two = [
        shop.adapter("code", 1, r=2, target_modules=["q_proj", "embed_tokens"]),
        shop.adapter("math", 2, r=3, target_modules=["q_proj", "up_proj"]),
    ]
    seen: dict[str, list[torch.Tensor]] = {}

    def mean(name: str, deltas: list[torch.Tensor]) -> torch.Tensor:
        seen[name] = [delta.clone() for delta in deltas]
        return torch.stack(deltas).mean(0)

    merge = merge_adapters(two, mean)
    report = write_adapter(merge, shop.folder / "both")
    parts = [shop.deltas(shop.folder / each.name) for each in two]
    assert error(shop.deltas(report.folder), add_up((0.5, 0.5), parts)) < 1e-5
    assert seen.keys() == parts[0].keys() | parts[1].keys()
    for name, deltas in seen.items():  # each as the base stores the tensor
        for delta, part in zip(deltas, parts, strict=True):
            expected = part.get(name, torch.zeros_like(delta))
            torch.testing.assert_close(delta, expected, rtol=1e-5, atol=1e-5)
    ranks = {module.name: module.rank for module in merge.modules}
    assert ranks["model.layers.0.self_attn.q_proj"] == 5
    assert ranks["model.embed_tokens"] == 2
    assert ranks["model.layers.0.mlp.up_proj"] == 3


@pytest.mark.parametrize("known", ["given", "named", "not at all"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("flag", [True, False])
def test_the_base_says_how_its_matrices_lie(
    workshop: Make, kind: str, flag: bool, known: str
) -> None:
    """PEFT corrects a `fan_in_fan_out` that is not true of a module, and so do we."""
    shop = workshop(kind)
    shop.base.save_pretrained(shop.folder / "base")
    targets = ["q_proj", "up_proj"] if kind == "llama" else ["attn.c_proj", "c_fc"]
    two = shop.pair(r=2, target_modules=targets)
    parts = [shop.deltas(shop.folder / each.name) for each in two]
    named = {"base_model_name_or_path": str(shop.folder / "base")} if known == "named" else {}
    two = [replace(a, config={**a.config, **named, "fan_in_fan_out": flag}) for a in two]
    seen: dict[str, list[torch.Tensor]] = {}

    def first(name: str, deltas: list[torch.Tensor]) -> torch.Tensor:
        seen[name] = deltas
        return deltas[0].clone()

    base = resolve(str(shop.folder / "base")) if known == "given" else None
    merge = merge_adapters(two, first, base=base)
    report = write_adapter(merge, shop.folder / "both")
    told = known != "not at all" or flag is (kind == "gpt2")
    assert adapter_config(merge)["fan_in_fan_out"] is (flag if not told else kind == "gpt2")
    assert error(shop.deltas(report.folder), parts[0]) < 1e-5
    for name, deltas in seen.items():
        for delta, part in zip(deltas, parts, strict=True):
            stored = part[name] if told else part[name].T
            torch.testing.assert_close(delta, stored, rtol=1e-5, atol=1e-5)


def test_ranks(workshop: Make) -> None:
    """A cut never gives more than there is; only what stays uncut may exceed its matrix."""
    shop = workshop()
    two = shop.pair(r=12, target_modules=["q_proj"])

    def rank(combine: Any, asked: int) -> int:
        return merge_adapters(two, combine, rank=asked).rank

    ties = combination(arm("ties"), ("code", "math"))
    assert [rank((1, 1), asked) for asked in (0, 4, 16, 99)] == [24, 4, 16, 16]
    assert [rank(ties, asked) for asked in (0, 4, 16, 99)] == [16, 4, 16, 16]


def test_one_adapter_can_be_scaled_and_cut(workshop: Make) -> None:
    shop = workshop()
    one = [shop.adapter("code", **PLAIN)]
    report = write_adapter(merge_adapters(one, (2.0,)), shop.folder / "twice")
    assert (
        error(shop.deltas(report.folder), add_up((2.0,), [shop.deltas(shop.folder / "code")]))
        < 1e-6
    )


@pytest.mark.parametrize(
    ("combine", "how", "message", "hint"),
    [
        (
            (1, 1, 1),
            {},
            "3 weights for 2 adapters",
            "give one weight for each adapter, in their order",
        ),
        ((1, float("nan")), {}, "a weight of [1, nan] is no number", "give finite weights"),
        ((1, 1), {"rank": -1}, "-1 is no rank", "give a rank, or 0 for the sum of the ranks"),
        (
            (1, 1),
            {"dtype": "int8"},
            "adapters cannot be written as int8",
            "choose one of: float32, float16, bfloat16",
        ),
    ],
)
def test_requests_that_make_no_sense(
    tmp_path: Any, combine: Any, how: Any, message: str, hint: str
) -> None:
    two = [resolve(str(nano.lora(tmp_path / name))) for name in ("code", "math")]
    with pytest.raises(OperatorError) as caught:
        merge_adapters(two, combine, **how)
    assert (str(caught.value), caught.value.hint) == (message, hint)


def test_nothing_to_merge() -> None:
    with pytest.raises(CheckpointError, match="there is no adapter to merge"):
        merge_adapters([], ())


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("lora_{}.weight", "[24, 16]"),
        ("lora_embedding_{}", "an embedding [16, 16]"),
    ],
)
def test_modules_of_other_shapes(tmp_path: Any, name: str, seen: str) -> None:
    at = "base_model.model.model.layers.0.self_attn.q_proj"
    out = 16 if "embedding" in name else 24
    other = {
        f"{at}.{name.format('A')}": torch.ones(2, 16),
        f"{at}.{name.format('B')}": torch.ones(out, 2),
    }
    one = resolve(str(nano.lora(tmp_path / "code")))
    two = resolve(str(nano.lora(tmp_path / "math", other)))
    with pytest.raises(AlignmentError) as caught:
        merge_adapters([one, two], (1, 1))
    assert str(caught.value) == (
        f"code changes model.layers.0.self_attn.q_proj as [16, 16], math as {seen}"
    )
    assert caught.value.hint == "they are adapters of different models"
