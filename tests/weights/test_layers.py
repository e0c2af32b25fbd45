"""Layers are told from names, whatever the architecture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmerge_hub.errors import AlignmentError
from simmerge_hub.weights.layers import Layer, depths, layer_of, main_stack, place_slices


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.mlp.up_proj.weight", Layer("model.layers", 3, "mlp.up_proj.weight")),
        ("h.11.attn.c_attn.bias", Layer("h", 11, "attn.c_attn.bias")),
        ("bert.encoder.layer.0.output.dense.weight",
         Layer("bert.encoder.layer", 0, "output.dense.weight")),
        ("model.layers.7.block_sparse_moe.experts.2.w1.weight",
         Layer("model.layers", 7, "block_sparse_moe.experts.2.w1.weight")),
        ("encoder.block.1.layer.0.SelfAttention.q.weight",
         Layer("encoder.block", 1, "layer.0.SelfAttention.q.weight")),
        ("lm_head.weight", None),
        ("model.embed_tokens.weight", None),
        ("model.norm2.weight", None),
    ],
)  # fmt: skip
def test_the_layer_of_a_name(name: str, layer: Layer | None) -> None:
    assert layer_of(name) == layer


def test_depth_runs_over_each_stack() -> None:
    names = ["embed.weight", "a.0.w", "a.1.w", "a.2.w", "b.0.w", "norm.weight"]
    assert depths(dict.fromkeys(names, (1,))) == {
        "embed.weight": 0.0, "a.0.w": 0.0, "a.1.w": 0.5, "a.2.w": 1.0, "b.0.w": 1.0,
        "norm.weight": 0.0,
    }  # fmt: skip


def test_the_main_stack_has_the_most_entries() -> None:
    shapes = {f"vision.layers.{i}.w": (2, 2) for i in range(5)}
    shapes |= {f"text.layers.{i}.w": (8, 8) for i in range(3)}
    assert main_stack(shapes) == ("text.layers", 3)
    with pytest.raises(AlignmentError, match="the model has no layers"):
        main_stack({"w": (1,)})


def model(layers: int, stack: str = "model.layers") -> dict[str, tuple[int, ...]]:
    inside = {f"{stack}.{i}.{w}": (2, 2) for i in range(layers) for w in ("a", "b")}
    return {"model.embed_tokens.weight": (4, 2), **inside, "model.norm.weight": (2,)}


@pytest.mark.parametrize(
    "tower", ["vision_tower.encoder.layers", "model.visual.blocks", "audio_tower.layers"]
)
def test_a_tower_is_not_the_main_stack_however_large(tower: str) -> None:
    shapes = {f"{tower}.{n}.w": (9, 9) for n in range(4)}
    assert main_stack(shapes) == (tower, 4)
    shapes |= {f"language_model.layers.{n}.w": (2, 2) for n in range(2)}
    config = {"text_config": {"vocab_size": 5, "num_hidden_layers": 2}}
    assert main_stack(shapes, config) == ("language_model.layers", 2)
    assert depths(shapes, config)[f"{tower}.1.w"] == pytest.approx(1 / 3)


def test_a_model_of_slices() -> None:
    shapes = {"one": model(4), "two": model(6)}
    placements = place_slices(shapes, [{"one": (0, 3)}, {"two": (2, 6)}])
    assert placements.keys() == model(7).keys()
    assert placements["model.embed_tokens.weight"].origins == {"one": "model.embed_tokens.weight"}
    assert placements["model.norm.weight"].origins == {"two": "model.norm.weight"}
    assert placements["model.norm.weight"].slice == 1
    third = placements["model.layers.3.a"]
    assert (third.slice, third.depth) == (1, 0.0)
    assert third.origins == {"two": "model.layers.2.a"}
    assert placements["model.layers.6.b"].origins == {"two": "model.layers.5.b"}
    assert placements["model.layers.6.b"].depth == 1.0


def test_a_head_called_embed_out_comes_last() -> None:
    """GPT-NeoX."""
    shapes = {n: model(4, "gpt_neox.layers") | {"embed_out.weight": (4, 2)} for n in ("one", "two")}
    placements = place_slices(shapes, [{"one": (0, 2)}, {"two": (2, 4)}])
    assert placements["embed_out.weight"].origins == {"two": "embed_out.weight"}
    assert placements["model.embed_tokens.weight"].origins == {"one": "model.embed_tokens.weight"}


def test_slices_of_several_models_side_by_side() -> None:
    shapes = {"one": model(4), "two": model(4)}
    placements = place_slices(shapes, [{"one": (0, 2), "two": (2, 4)}])
    assert placements["model.layers.1.b"].origins == {
        "one": "model.layers.1.b",
        "two": "model.layers.3.b",
    }


def test_a_slice_beyond_the_last_layer() -> None:
    with pytest.raises(AlignmentError) as caught:
        place_slices({"one": model(4)}, [{"one": (2, 5)}])
    assert str(caught.value) == "a slice takes layers 2 to 5 of one, which has 4"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), min_size=1, max_size=5))
def test_output_layers_are_numbered_without_gaps(cuts: list[tuple[int, int]]) -> None:
    spans = [{"one": (first, first + count)} for first, count in cuts]
    placements = place_slices({"one": model(9)}, spans)
    taken = [first + i for first, count in cuts for i in range(count)]
    assert placements.keys() == model(len(taken)).keys()
    for number, origin in enumerate(taken):
        assert placements[f"model.layers.{number}.a"].origins == {"one": f"model.layers.{origin}.a"}


def test_layers_that_a_config_does_not_count() -> None:
    """What predicts further tokens is stored as one more layer, and is none."""
    shapes = {f"model.layers.{n}.w": (2, 2) for n in range(3)}
    config = {"num_hidden_layers": 2, "vocab_size": 5}
    assert main_stack(shapes) == ("model.layers", 3)
    assert main_stack(shapes, config) == ("model.layers", 2)
    assert list(depths(shapes, config).values()) == [0.0, 1.0, 1.0]
    with pytest.raises(AlignmentError, match="which has 2"):
        place_slices({"a": shapes}, [{"a": (0, 3)}], {"a": config})
    placed = place_slices({"a": shapes}, [{"a": (0, 2)}], {"a": config})
    assert list(placed) == ["model.layers.0.w", "model.layers.1.w"]
