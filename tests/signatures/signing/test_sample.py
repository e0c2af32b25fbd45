"""Which rows are sampled: the same everywhere, within the budget, whole where small."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.hub.files.ranges import coalesce
from simmerge_hub.signatures.signing.sample import BIG_PART, RUNS_PER_TENSOR, choose_rows

SEVEN_B = {
    "model.embed_tokens.weight": (32000, 4096),
    "lm_head.weight": (32000, 4096),
    "model.norm.weight": (4096,),
} | {
    f"model.layers.{i}.{name}.weight": shape
    for i in range(32)
    for name, shape in {
        "self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (1024, 4096),
        "self_attn.v_proj": (1024, 4096), "self_attn.o_proj": (4096, 4096),
        "mlp.gate_proj": (14336, 4096), "mlp.up_proj": (14336, 4096),
        "mlp.down_proj": (4096, 14336), "input_layernorm": (4096,),
    }.items()
}  # fmt: skip


def entries(shapes, rows):
    return {n: sum(high - low for low, high in r) * prod(shapes[n][1:]) for n, r in rows.items()}


def test_small_models_are_sampled_whole():
    shapes = {"a": (10, 20), "b": (7,), "c": ()}
    assert choose_rows(shapes) == {"a": ((0, 10),), "b": ((0, 1),), "c": ((0, 1),)}


def test_seven_billion_parameters_give_under_one_percent_and_every_tensor():
    rows = choose_rows(SEVEN_B)
    total = sum(map(prod, SEVEN_B.values()))
    taken = sum(
        (high - low) * (prod(SEVEN_B[n][1:]) if len(SEVEN_B[n]) > 1 else prod(SEVEN_B[n]))
        for n, ranges in rows.items()
        for low, high in ranges
    )
    assert rows.keys() == SEVEN_B.keys()
    assert 0.001 < taken / total < 1 / BIG_PART
    assert max(map(len, rows.values())) == RUNS_PER_TENSOR


def test_a_big_model_of_few_tensors_stays_under_its_share():
    shapes = {f"layers.{i}.w": (4096, 4096) for i in range(20)}
    taken = sum(entries(shapes, choose_rows(shapes)).values())
    assert 0 < taken <= sum(map(prod, shapes.values())) / BIG_PART


def blocks(hidden: int, layers: int, inner: int, keys: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a Llama with a vocabulary of 32,000, in the order of a file."""
    sizes = {
        "input_layernorm": (hidden,), "mlp.down_proj": (hidden, inner),
        "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
        "self_attn.k_proj": (keys, hidden), "self_attn.o_proj": (hidden, hidden),
        "self_attn.q_proj": (hidden, hidden), "self_attn.v_proj": (keys, hidden),
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (32_000, hidden)}
    for i in range(layers):
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in sizes.items()}
    return shapes


@pytest.mark.parametrize(
    "shapes",
    [SEVEN_B, blocks(2048, 22, 5632, 256), blocks(1024, 36, 3072, 512), blocks(512, 180, 1536, 64)],
    ids=["7B", "1.1B", "0.5B", "narrow and deep"],
)
@pytest.mark.parametrize("width", [2, 4], ids=["bf16", "float32"])
def test_what_is_fetched_of_a_gigabyte_is_under_one_percent(shapes, width):
    """With the gaps that are bridged; as laid out in one file."""
    at, spans = 0, []
    rows = choose_rows(shapes)
    for name, shape in shapes.items():
        cols = shape[-1] * width
        spans += [(at + low * cols, at + high * cols) for low, high in rows.get(name, ())]
        at += prod(shape) * width
    assert at > 0.9e9
    assert 0.001 < sum(end - start for start, end in coalesce(spans)) / at <= 0.01


def test_a_few_more_tokens_change_no_other_tensor():
    larger = SEVEN_B | {"model.embed_tokens.weight": (32064, 4096), "lm_head.weight": (32064, 4096)}
    before, after = choose_rows(SEVEN_B), choose_rows(larger)
    assert {n for n in before if before[n] != after[n]} <= {
        "model.embed_tokens.weight",
        "lm_head.weight",
    }


def test_rows_depend_on_the_name():
    shapes = {"layers.0.w": (1000, 10), "layers.1.w": (1000, 10)}
    rows = choose_rows(shapes, entries=2000)
    assert rows["layers.0.w"] != rows["layers.1.w"]


def test_a_tensor_of_overlong_rows_is_left_out():
    shapes = {"experts": (8, 4_000_000)} | {f"w{i}": (64, 64) for i in range(50)}
    assert "experts" not in choose_rows(shapes, entries=100_000)


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.text("abc.", min_size=1), st.tuples(st.integers(1, 300), st.integers(1, 40)), min_size=1
    ),
    st.integers(500, 20_000),
)
def test_ranges_ascend_inside_the_tensor_and_within_the_budget(shapes, budget):
    rows = choose_rows(shapes, entries=budget)
    assert rows == choose_rows(shapes, entries=budget)
    for name, ranges in rows.items():
        edges = [edge for pair in ranges for edge in pair]
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert edges[-1] <= shapes[name][0]
        assert all(low < high for low, high in ranges)
    single = sum(shape[1] for shape in shapes.values())
    assert sum(entries(shapes, rows).values()) <= budget + single


@pytest.mark.parametrize("budget", [1, 10])
def test_a_hopeless_budget_takes_single_rows_or_nothing(budget):
    rows = choose_rows({"a": (100, 8)}, entries=budget)
    assert sum(high - low for low, high in rows.get("a", ())) <= 1
