"""Names of every architecture find their block and their third."""

import pytest

from simmerge_hub.signatures.measures.blocks import (
    block_of,
    groups_of,
    layer_count,
    layer_of,
    third_of,
)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("model.embed_tokens.weight", "embedding"),
        ("transformer.wte.weight", "embedding"),
        ("wpe.weight", "embedding"),
        ("gpt_neox.embed_in.weight", "embedding"),
        ("lm_head.weight", "head"),
        ("embed_out.weight", "head"),
        ("model.layers.3.self_attn.q_proj.weight", "attention"),
        ("h.0.attn.c_attn.weight", "attention"),
        ("transformer.h.11.attn.c_proj.weight", "attention"),
        ("gpt_neox.layers.1.attention.dense.weight", "attention"),
        ("transformer.h.2.self_attention.query_key_value.weight", "attention"),
        ("model.layers.3.mlp.down_proj.weight", "mlp"),
        ("transformer.h.4.mlp.c_fc.weight", "mlp"),
        ("model.layers.0.block_sparse_moe.experts.7.w2.weight", "mlp"),
        ("model.layers.0.block_sparse_moe.gate.weight", "mlp"),
        ("model.layers.0.mlp.experts.gate_up_proj", "mlp"),
        ("model.decoder.layers.0.fc1.weight", "mlp"),
        ("something.else.weight", "other"),
    ],
)
def test_matrices(name, block):
    assert block_of(name, (4, 4)) == block


@pytest.mark.parametrize(
    "name",
    ["model.norm.weight", "model.layers.0.self_attn.q_norm.weight", "h.0.attn.c_attn.bias"],
)
def test_vectors_are_apart(name):
    assert block_of(name, (4,)) == "norm"
    assert groups_of(name, (4,), 3) == ("norm",)


def test_layers():
    names = ["model.layers.0.a.weight", "model.layers.11.b.weight", "model.norm.weight"]
    assert [layer_of(n) for n in names] == [0, 11, None]
    assert layer_count(names) == 12
    assert layer_count(["lm_head.weight"]) == 0


def test_thirds_of_any_depth():
    assert [third_of(i, 3) for i in range(3)] == ["early", "middle", "late"]
    assert [third_of(i, 4) for i in range(4)] == ["early", "middle", "middle", "late"]
    assert third_of(0, 1) == "middle"
    assert [third_of(i, 32) for i in (0, 10, 11, 20, 21, 31)] == [
        "early", "early", "middle", "middle", "late", "late",
    ]  # fmt: skip
