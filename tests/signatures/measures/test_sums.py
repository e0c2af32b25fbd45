"""Sums of a column over the tensors of a group, by hand."""

import numpy as np

from simmerge_hub.signatures.measures.sums import tensor_sums

SHAPES = {
    "model.embed_tokens.weight": (8, 4),
    "model.layers.0.self_attn.q_proj.weight": (4, 4),
    "model.layers.1.mlp.up_proj.weight": (6, 4),
    "model.layers.2.mlp.up_proj.weight": (6, 4),
    "model.norm.weight": (4,),
}
SUMS = tensor_sums(SHAPES, list(SHAPES), {"a": np.array([1.0, 2.0, 4.0, 8.0, 16.0])})


def test_every_group_adds_up_its_tensors() -> None:
    groups = ("all", "embedding", "attention", "mlp", "norm", "head", "early", "middle", "late")
    assert [SUMS.total("a", group) for group in groups] == [15, 1, 2, 12, 16, 0, 2, 4, 8]


def test_some_tensors_in_another_order() -> None:
    names = ("model.layers.2.mlp.up_proj.weight", "model.norm.weight")
    some = SUMS.select(names)
    assert some.names == names
    assert some.columns["a"].tolist() == [8, 16]
    assert (some.total("a", "late"), some.total("a", "norm"), some.total("a", "early")) == (
        8,
        16,
        0,
    )
    assert SUMS.select(tuple(SHAPES)) is SUMS


def test_thirds_are_of_the_model_not_of_the_tensors_that_are_looked_at() -> None:
    one = tensor_sums(SHAPES, ["model.layers.0.self_attn.q_proj.weight"], {"a": np.ones(1)})
    assert (one.total("a", "early"), one.total("a", "middle")) == (1, 0)
