"""What layers are told to be fed is what plain forward passes, prompt by prompt, feed them."""

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from simmerge_hub.operators import LayerInputs
from simmerge_hub.signatures.probing import layerwise
from simmerge_hub.signatures.probing.feeding import Fed, feed, feed_whole, parameters_outside
from simmerge_hub.signatures.probing.loading import open_model
from tests.activations import CONFIGS, PlainInputs, plain_inputs, random_model

ARCHITECTURES = ["llama", "llama-tied", "qwen3", "gemma3", "gpt2", "mixtral", *CONFIGS]
ARCHITECTURES.remove("gemma3-vision")
UNFED = {
    "embed_tokens", "wte", "wpe", "conv1d", "A_log", "embeddings", "embed_in", "dt_proj",
    "gate_up_proj_bias", "down_proj_bias",
}  # fmt: skip
"""Parts of names of parameters with rows and columns that nothing is multiplied with."""
SEQUENCES = [
    tuple(3 + (7 * i + 11 * j) % 90 for j in range(length))
    for i, length in enumerate((5, 9, 12, 7, 5, 20, 3, 8))
]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def gram_of(inputs: LayerInputs) -> Tensor:
    if inputs.gram is not None:
        return inputs.gram
    assert inputs.rows is not None
    return inputs.rows.T @ inputs.rows


def compare(fed: dict[str, Fed], plain: PlainInputs, model: PreTrainedModel) -> None:
    """The same parameters, each fed as many tokens, with the same products."""
    matrices = {(n, i): m for n, each in fed.items() for i, m in enumerate(each.matrices)}
    head = model.get_output_embeddings().weight
    tied = {n for n, p in model.named_parameters() if p is head and not n.endswith("head.weight")}
    wanted = {key: tokens for key, tokens in plain.inputs.items() if key[0] not in tied}
    assert {key for key, m in matrices.items() if m.tokens} == wanted.keys()
    for key, tokens in wanted.items():
        assert matrices[key].tokens == len(tokens), key
        expected = tokens.T @ tokens
        largest = float(expected.abs().max())
        torch.testing.assert_close(
            gram_of(matrices[key]), expected, rtol=0, atol=1e-5 * largest, msg=str(key)
        )
    assert {name for name, each in fed.items() if each.transposed} == plain.turned
    names = {n for n, p in model.named_parameters() if p.ndim > 1} - fed.keys() - tied
    assert not {name for name in names if not UNFED & set(name.split("."))}


def per_layer(model: PreTrainedModel) -> list[dict[str, Fed]]:
    with feed(model, SEQUENCES) as layers:
        return [dict(layer) for layer in layers]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_are_fed_what_plain_passes_feed_them(tiny, architecture: str) -> None:
    """All sequences in one batch, with as much padding as there can be."""
    model = random_model(architecture)
    plain = plain_inputs(model, SEQUENCES)
    compare(dict(feed_whole(model, SEQUENCES)), plain, model)


@pytest.mark.parametrize("architecture", ["llama", "mixtral", "jamba", "gpt2"])
def test_batches_do_not_matter(tiny, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layerwise, "BATCH_TOKENS", 20)
    assert len(layerwise.batches(SEQUENCES)) > 3
    model = random_model(architecture)
    plain = plain_inputs(model, SEQUENCES)
    compare(dict(feed_whole(model, SEQUENCES)), plain, model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_by_layers_it_is_the_same(tiny, architecture: str, tmp_path, monkeypatch) -> None:
    """Weights come and go, and experts are joined from what is stored."""
    monkeypatch.setattr(layerwise, "BATCH_TOKENS", 40)
    checkpoint = tiny.save(random_model(architecture), tmp_path / "model")
    with open_model(checkpoint, offload=False) as model:
        whole = per_layer(model)
    with open_model(checkpoint, offload=True) as model:
        by_layers = per_layer(model)
    assert [set(layer) for layer in whole] == [set(layer) for layer in by_layers]
    for layer, again in zip(whole, by_layers, strict=True):
        for name, fed in layer.items():
            for one, two in zip(fed.matrices, again[name].matrices, strict=True):
                assert one.tokens == two.tokens, name
                if one.tokens:
                    scale = float(gram_of(one).abs().max())
                    torch.testing.assert_close(
                        gram_of(one), gram_of(two), rtol=0, atol=1e-5 * scale, msg=name
                    )


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "mixtral", "mamba"])
def test_each_layer_comes_in_its_turn(tiny, architecture: str) -> None:
    """What is outside the layers comes with the first or the last."""
    layers = per_layer(random_model(architecture))
    assert len(layers) == 3
    for number, layer in enumerate(layers):
        inside = {name for name in layer if any(part.isdigit() for part in name.split("."))}
        assert inside
        assert all(f".{number}." in name for name in inside)
        outside = layer.keys() - inside
        assert not outside or number == 2


@pytest.mark.parametrize("architecture", ["llama", "llama-tied", "mixtral", "gpt2"])
def test_run_again_with_its_own_weights_a_layer_leaves_the_same(
    tiny, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it is fed the second time is not counted; the head has an entry of its own."""
    monkeypatch.setattr(layerwise, "BATCH_TOKENS", 40)
    model = random_model(architecture)
    with feed(model, SEQUENCES, again=True) as layers:
        entries = [dict(layer) for layer in layers]
    assert len(entries) == 4
    compare(
        {name: fed for layer in entries for name, fed in layer.items()},
        plain_inputs(model, SEQUENCES),
        model,
    )


def test_the_next_layer_is_fed_what_the_changed_layer_leaves(tiny) -> None:
    model, changed = random_model("llama"), random_model("llama")
    with feed(model, SEQUENCES, again=True) as layers:
        first = next(layers)
        for each in (model, changed):
            each.model.layers[0].mlp.down_proj.weight.data.mul_(3)
        second = next(layers)
    assert all(".0." in name for name in first)
    wanted = plain_inputs(changed, SEQUENCES).inputs["model.layers.1.self_attn.q_proj.weight", 0]
    gram = gram_of(second["model.layers.1.self_attn.q_proj.weight"].matrices[0])
    torch.testing.assert_close(gram, wanted.T @ wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "qwen3-moe"])
def test_what_stands_outside_the_layers(tiny, architecture: str) -> None:
    """Embeddings and norms; no linear layer, but a head that is the embedding."""
    model = random_model(architecture)
    names = parameters_outside(model)
    assert not any(part.isdigit() for name in names for part in name.split("."))
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    own = {name for name, p in model.named_parameters() if p is head and head is not embedding}
    inside = {n for n, _ in model.named_parameters() if any(x.isdigit() for x in n.split("."))}
    assert {n for n, _ in model.named_parameters()} == {*names, *inside, *own} - {
        name for name in names if name not in dict(model.named_parameters())
    }


def test_layers_fed_with_one_tensor_share_what_is_kept(tiny) -> None:
    layer = per_layer(tiny.model_of("llama"))[1]
    kept = {name.split(".")[-2]: id(fed.matrices[0]) for name, fed in layer.items()}
    assert kept["q_proj"] == kept["k_proj"] == kept["v_proj"]
    assert kept["gate_proj"] == kept["up_proj"]
    assert len(set(kept.values())) == 4


@pytest.mark.parametrize("count", [5, 7])
def test_a_few_tokens_are_kept_as_they_are(tiny, count: int) -> None:
    """Of 7 the products are smaller than six times as many rows of 32 columns."""
    layers = feed_whole(tiny.model_of("llama"), [SEQUENCES[5][:count]])
    down = layers["model.layers.0.mlp.down_proj.weight"].matrices[0]  # of 48 columns
    up = layers["model.layers.0.mlp.up_proj.weight"].matrices[0]
    assert down.rows is not None
    assert (up.rows is not None) == (count == 5)


def test_an_expert_nobody_chose_was_fed_nothing(tiny) -> None:
    fed = feed_whole(tiny.model_of("mixtral"), [SEQUENCES[-2]])
    counts = [m.tokens for m in fed["model.layers.0.mlp.experts.down_proj"].matrices]
    assert len(counts) == 4
    assert sum(counts) == 2 * 3
    assert 0 in counts


def test_hooks_and_the_way_experts_run_are_as_before(tiny) -> None:
    model = tiny.model_of("mixtral")
    before = model.get_experts_implementation()
    feed_whole(model, SEQUENCES)
    assert model.get_experts_implementation() == before
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    with pytest.raises(RuntimeError, match="on purpose"), feed(model, SEQUENCES) as layers:
        next(layers)
        raise RuntimeError("on purpose")
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    assert model.get_experts_implementation() == before


def test_a_linear_layer_may_be_fed_by_keyword(tiny) -> None:
    model = tiny.model_of("llama")
    inner = model.model.layers[1].mlp
    plain = plain_inputs(model, SEQUENCES)

    def forward(states: Tensor) -> Tensor:
        return inner.down_proj(
            input=inner.act_fn(inner.gate_proj(input=states)) * inner.up_proj(states)
        )

    inner.forward = forward
    compare(dict(feed_whole(model, SEQUENCES)), plain, model)


def test_a_vision_tower_is_not_taken_for_the_decoder() -> None:
    """Both have three layers; the text passes through one."""
    layers = per_layer(random_model("gemma3-vision"))
    assert [sum("layers" in name for name in layer) for layer in layers] == [7, 7, 7]
    assert not any("vision" in name for layer in layers for name in layer)
