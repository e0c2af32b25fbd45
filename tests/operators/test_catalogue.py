"""The whole catalogue × what must hold of every operator, and 4×4 answers made by hand."""

import inspect
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from simmerge_hub import operators
from simmerge_hub.errors import OperatorError
from simmerge_hub.operators import OPERATORS, Arm, Place, consensus, merge_tensors, registry
from tests.activations import seen_by

MERGEKIT = {
    "linear", "slerp", "nuslerp", "multislerp", "karcher", "task_arithmetic", "ties",
    "dare_linear", "dare_ties", "della", "della_linear", "breadcrumbs", "breadcrumbs_ties",
    "model_stock", "sce", "arcee_fusion", "nearswap", "ram", "ramplus_tl", "passthrough",
}  # fmt: skip
SPARSE = {
    "ties",
    "breadcrumbs",
    "breadcrumbs_ties",
    "dare_linear",
    "dare_ties",
    "della",
    "della_linear",
}
"""Operators that keep some entries of each delta."""
RANDOM = {"dare_linear", "dare_ties", "della", "della_linear"}
ABSOLUTE = {"ram", "ramplus_tl", "nearswap", "arcee_fusion", "slerp"}
"""Operators defined with a number that has the unit of weights."""
PRODUCTS = {"regmean", "delta_regmean"}
"""Operators that multiply matrices: a row is rounded otherwise beside other rows."""
SUMS = {"task_arithmetic", "dare_linear", "della_linear", "breadcrumbs"}
"""Operators whose result grows with the number of models."""
WHOLE: dict[str, dict[str, Any]] = {
    **{name: {"density": 1.0} for name in ("sce", *SPARSE)},
    "nearswap": {"limit": 100.0},
    "ram": {"floor": 0.0},
    "ramplus_tl": {"floor": 0.0},
}
"""Parameters with which no entry is left out."""
VARIANTS = [(name, {}) for name in OPERATORS] + [
    ("linear", {"normalize": False}),
    ("nuslerp", {"along": "row"}),
    ("nuslerp", {"along": "column"}),
    ("nuslerp", {"origin": "zero"}),
    ("multislerp", {"origin": "zero"}),
    ("ties", {"density": 0.5, "rescale": "l1"}),
    ("ties", {"density": (0.2, 1.0)}),
    ("dare_ties", {"rescale": "l1", "normalize": False}),
    ("dare_linear", {"rescale": "none"}),
    ("della", {"rescale": "l1", "weights": (1.0, -1.0)}),
    ("model_stock", {"filter_wise": True}),
    ("sce", {"density": 1.0}),
    ("regmean", {"alpha": 0.0}),
    ("delta_regmean", {"alpha": 0.5, "weights": (1.0, 3.0)}),
    ("regmean", {"others": "sum", "weights": (1.0, 3.0)}),
]
EVERY = pytest.mark.parametrize(
    ("name", "given"), VARIANTS, ids=[f"{n}-{'-'.join(g)}" if g else n for n, g in VARIANTS]
)
ALL = pytest.mark.parametrize("name", OPERATORS)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def models_of(name: str, base: Tensor, count: int = 2, size: float = 0.1) -> list[Tensor]:
    most = OPERATORS[name].models[1] or count
    return [base + size * random(*base.shape, seed=i + 1) for i in range(min(count, most))]


def merge(
    name: str, given: dict[str, Any], base: Tensor, inputs: list[Tensor], **place: Any
) -> Tensor:
    chosen = Arm(operator=name, parameters=given)
    where = Place(**{"tensor": "w", "shape": tuple(base.shape), **place})
    return merge_tensors(chosen, base, inputs, fed(name, where, len(inputs)))


def fed(name: str, place: Place, models: int) -> Place:
    """The same place; for an operator that looks at activations, with what the models are fed."""
    if not OPERATORS[name].activations:
        return place
    names = place.models or tuple("abc"[:models])
    return replace(place, models=names, seen=seen_by(names, place.shape))


def test_the_catalogue_has_what_mergekit_has() -> None:
    assert set(OPERATORS) >= MERGEKIT


@ALL
def test_the_registry_says_what_an_operator_is(name: str) -> None:
    found = OPERATORS[name]
    assert found.summary.endswith(".")
    assert len(found.summary) <= 92
    assert found.paper
    assert found.space in {"weight", "delta", "anchored"}
    text = inspect.getdoc(found.combine) or ""
    for key in found.parameters:
        assert f"{key}:" in text, key


@EVERY
@pytest.mark.parametrize(
    "shape", [(), (1,), (7,), (4, 4), (1, 9), (9, 1), (3, 2, 5), (0, 4), (4, 0)], ids=str
)
def test_float32_of_the_same_shape_and_finite(
    name: str, given: dict[str, Any], shape: tuple[int, ...]
) -> None:
    base = random(*shape)
    merged = merge(name, given, base, models_of(name, base))
    assert merged.dtype == torch.float32
    assert merged.shape == base.shape
    assert bool(torch.isfinite(merged).all())


@EVERY
def test_zero_deltas_give_the_base(name: str, given: dict[str, Any]) -> None:
    base = random(6, 8)
    merged = merge(name, given, base, [base.clone() for _ in models_of(name, base)])
    expected = base * 2 if given == {"normalize": False} and name == "linear" else base
    torch.testing.assert_close(merged, expected, rtol=1e-6, atol=1e-6)


@ALL
def test_identical_models_give_that_model(name: str) -> None:
    """If no entry is left out; a sum of deltas gives the base and twice the delta."""
    base, model = random(6, 8), random(6, 8, seed=3)
    models = [model.clone() for _ in models_of(name, base)]
    merged = merge(name, WHOLE.get(name, {}), base, models)
    expected = base + len(models) * (model - base) if name in SUMS else model
    if name == "arcee_fusion":
        expected = torch.where(merged == model, model, base)
    torch.testing.assert_close(merged, expected, rtol=2e-6, atol=2e-6)


@ALL
def test_the_order_of_the_models_does_not_matter(name: str) -> None:
    base = random(16, 8)
    models = models_of(name, base, 3)
    names = [f"m{i}" for i in range(len(models))]
    merged = merge(name, {}, base, models, models=tuple(names))
    again = merge(name, {}, base, models[::-1], models=tuple(names[::-1]))
    torch.testing.assert_close(merged, again, rtol=1e-6, atol=2e-6)


@EVERY
@pytest.mark.parametrize(("shape", "step"), [((67, 33), 5), ((40, 1), 7), ((3, 6001), 1)])
def test_chunks_do_not_change_a_bit(
    name: str, given: dict[str, Any], shape: tuple[int, int], step: int
) -> None:
    base = random(*shape)
    models = models_of(name, base)
    found = operators.check(name, given, len(models))
    place = fed(name, Place(tensor="w", models=("a", "b"), shape=shape, seed=3), len(models))
    whole, _ = operators.stack_inputs(found, base, models)
    expected = operators.combine(
        found, whole, operators.measure(found, [whole], given, place), given, place
    )
    parts = [whole[:, low : low + step].clone() for low in range(0, shape[0], step)]
    known = operators.measure(found, parts, given, place)
    merged = [
        operators.combine(found, part, known, given, replace(place, low=i * step))
        for i, part in enumerate(parts)
    ]
    rounding = {"rtol": 0.0, "atol": 1e-5 if name in PRODUCTS else 0.0}
    torch.testing.assert_close(torch.cat(merged), expected, **rounding)


@ALL
def test_exact_on_samples_is_true_where_it_says_so(name: str) -> None:
    """Merging every other row gives every other row of the merge."""
    base = random(40, 12)
    models = models_of(name, base, size=0.5)
    given = {"floor": 0.3, "ceiling": 9.0} if name == "ramplus_tl" else {}
    whole = merge(name, given, base, models)[::2]
    sample = merge(name, given, base[::2].clone(), [m[::2].clone() for m in models])
    alike = torch.allclose(sample, whole, atol=1e-5) if name in PRODUCTS else sample.equal(whole)
    assert alike == OPERATORS[name].exact_on_samples


@EVERY
def test_inputs_stay_as_they_were(name: str, given: dict[str, Any]) -> None:
    base = random(5, 6)
    inputs = [base, *models_of(name, base)]
    before = [t.clone() for t in inputs]
    merge(name, given, inputs[0], inputs[1:])
    assert all(map(torch.equal, before, inputs))


@ALL
@settings(max_examples=15)
@given(data=st.data())
def test_nothing_finite_becomes_nan(name: str, data: st.DataObject) -> None:
    """Repeated, opposite, zero, tiny and large values included."""
    values = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 1e15, -1e15, 1e-4, 0.5])
    count = min(2, OPERATORS[name].models[1] or 2)
    rows = st.lists(values, min_size=6, max_size=6)
    base, *models = (torch.tensor(data.draw(rows)).view(2, 3) for _ in range(count + 1))
    try:
        merged = merge(name, {}, base, models)
    except OperatorError as error:
        assert "cancel out" in str(error)
        return
    assert bool(torch.isfinite(merged).all())


@pytest.mark.parametrize("size", [2.0**-60, 2.0**40])
@pytest.mark.parametrize("name", sorted(set(OPERATORS) - ABSOLUTE))
def test_thresholds_are_relative(name: str, size: float) -> None:
    """Scaled inputs give the scaled result."""
    base = random(8, 6)
    models = models_of(name, base, 3)
    merged = merge(name, {}, base * size, [m * size for m in models]) / size
    torch.testing.assert_close(merged, merge(name, {}, base, models), rtol=1e-5, atol=1e-6)


BASE = torch.arange(16.0).view(4, 4)
A = torch.zeros(4, 4)
A[0] = torch.tensor([4.0, -3, 2, 1])
B = torch.zeros(4, 4)
B[0], B[1] = torch.tensor([2.0, 1, -2, 0]), torch.tensor([0.0, 0, 8, 0])


@pytest.mark.parametrize(
    ("name", "given", "first", "second"),
    [
        ("linear", {}, [3, -1, 0, 0.5], [0, 0, 4, 0]),
        ("linear", {"weights": (1, 1), "normalize": False}, None, None),
        ("task_arithmetic", {"scale": 0.5}, [3, -1, 0, 0.5], [0, 0, 4, 0]),
        ("task_arithmetic", {"normalize": True}, [3, -1, 0, 0.5], [0, 0, 4, 0]),
        ("ties", {"density": 1.0}, [3, -3, 2, 1], [0, 0, 8, 0]),
        ("ties", {"density": 1.0, "normalize": False}, [6, -3, 2, 1], [0, 0, 8, 0]),
        ("ties", {"density": 2 / 16}, [3, -3, -2, 0], [0, 0, 8, 0]),  # ±2 tie for B's second
        ("ties", {"density": (2 / 16, 1 / 16), "weights": (2, 1)}, [4, -3, 0, 0], [0, 0, 8, 0]),
        ("ties", {"density": 1 / 8, "rescale": "l1", "weights": (1, 0)}, [40/7, -30/7, 0, 0], None),
        ("breadcrumbs", {"density": 2 / 16, "gamma": 1 / 16}, [2, -3, 0, 0], [0, 0, 0, 0]),
        ("breadcrumbs_ties", {"density": 2 / 16, "gamma": 1 / 16}, [2, -3, 2, 0], [0, 0, 0, 0]),
        ("dare_linear", {"density": 1.0}, [6, -2, 0, 1], [0, 0, 8, 0]),
        ("della", {"density": 1.0}, [3, -3, 2, 1], [0, 0, 8, 0]),
        ("sce", {"density": 1.0, }, [(4 * 30 + 2 * 73) / 103, -3, 2, 1], [0, 0, 8, 0]),
        ("sce", {"density": 1 / 5}, [0, 0, 0, 0], [0, 0, 8, 0]),
        ("ram", {"floor": 1.0}, [3, -3, 0, 0], [0, 0, 8, 0]),
        ("ramplus_tl", {"floor": 1.0, "boost": 1.0, "ceiling": 9.0}, [3, -9, 0, 0], [0, 0, 24, 0]),
        ("model_stock", {}, None, None),
    ],
)  # fmt: skip
def test_by_hand(
    name: str, given: dict[str, Any], first: list[float] | None, second: list[float] | None
) -> None:
    """Deltas A and B from a base: the first two rows of the merge's delta; the others are zero."""
    merged = merge(name, given, BASE, [BASE + A, BASE + B])
    expected = BASE.clone()
    if name == "linear" and not given.get("normalize", True):
        expected = 2 * BASE + A + B
    elif name == "model_stock":
        cosine = (8 - 3 - 4) / (30**0.5 * 73**0.5)
        expected += (A + B) * cosine / (1 + cosine)
    else:
        expected[0] += torch.tensor(first)
        expected[1] += torch.tensor(second or [0.0, 0, 0, 0])
    torch.testing.assert_close(merged, expected)


def test_one_model_by_hand() -> None:
    model = BASE + A
    assert torch.equal(merge("passthrough", {"scale": 2.0}, BASE, [model]), 2 * model)
    limited = merge("nearswap", {"limit": 2.0}, BASE, [model]) - BASE
    assert limited[0].tolist() == [2.0, -2.0, 2.0, 1.0]
    fused = merge("arcee_fusion", {}, BASE, [model])
    assert torch.equal(fused, model)  # three quarters do not move: every move is an outlier


@pytest.mark.parametrize("name", ["multislerp", "karcher"])
def test_middles_by_hand(name: str) -> None:
    """Three orthogonal tensors of norms 1, 2 and 3: equal parts of each direction, at norm 2."""
    models = [torch.zeros(4, 4) for _ in range(3)]
    for i, model in enumerate(models):
        model[i, i] = i + 1.0
    merged = merge(name, {}, torch.zeros(4, 4), models)
    expected = torch.diag(torch.tensor([1.0, 1, 1, 0])) * 2 / 3**0.5
    torch.testing.assert_close(merged, expected)


@pytest.mark.parametrize(
    ("name", "models", "base", "message", "hint"),
    [
        ("slerp", 3, True, "slerp merges exactly 2 models, but 3 are given", "another operator"),
        ("model_stock", 1, True, "model_stock merges at least 2 models, but 1 are given", ""),
        ("nearswap", 2, True, "nearswap merges exactly 1 model besides the base, but 2", ""),
        ("sce", 2, False, "sce needs a base", "as `base:`"),
        ("arcee_fusion", 1, False, "arcee_fusion needs a base", "as `base:`"),
        ("nuslerp", 2, False, "nuslerp needs a base", "or say origin: zero"),
    ],
)
def test_wrong_inputs(name: str, models: int, base: bool, message: str, hint: str) -> None:
    with pytest.raises(OperatorError, match=message) as caught:
        operators.check(name, {}, models, base=base)
    assert hint in caught.value.hint


def test_origin_zero_needs_no_base() -> None:
    found = operators.check("nuslerp", {"origin": "zero"}, 2, base=False)
    assert found.space == "weight"
    assert not found.needs_base


@pytest.mark.parametrize(
    ("name", "given", "message", "hint"),
    [
        ("ties", {"rescale": "density"}, "ties: rescale is 'density'", "one of none, l1"),
        ("dare_ties", {"density": (0.5, 0.0)}, "density is .*is no share to keep", "in \\(0, 1\\]"),
        ("ties", {"density": 3}, "^ties: density is 3, and is no share to keep$", "in \\(0, 1\\]"),
        ("ties", {"density": (0.5,)}, "1 values of density for 2 models", "one density for each"),
        ("della", {"density": 0.9}, "0.9 ± epsilon 0.15", "between 0 and 1"),
        ("breadcrumbs", {"gamma": 1.0}, "gamma is 1.0", "in \\[0, 1\\)"),
        ("nuslerp", {"along": "diagonal"}, "along is 'diagonal'", "tensor, row, column"),
        ("linear", {"normalize": 1}, "normalize is 1", "true or false"),
        ("nearswap", {"limit": -1.0}, "limit is -1.0", "not negative"),
        ("dare_linear", {"weights": (1, -1), "normalize": True}, "sum to zero", "non-zero"),
        ("sce", {"density": (0.1, 0.2)}, "sce: density is", "finite number"),
    ],
)
def test_wrong_parameters(name: str, given: dict[str, Any], message: str, hint: str) -> None:
    count = OPERATORS[name].models[1] or 2
    with pytest.raises(OperatorError, match=message) as caught:
        operators.check(name, given, count)
    assert __import__("re").search(hint, caught.value.hint)


@pytest.mark.parametrize("name", ["multislerp", "karcher"])
def test_directions_that_cancel_out_name_the_tensor(name: str) -> None:
    turned = [
        torch.tensor([[x, y]]) for x, y in ((1.0, 0.0), (-0.5, 0.75**0.5), (-0.5, -(0.75**0.5)))
    ]
    with pytest.raises(OperatorError, match="directions of w cancel out") as caught:
        merge(name, {}, torch.zeros(1, 2), turned)
    assert "linear" in caught.value.hint


def test_a_mean_that_has_arrived_is_not_moved_whatever_the_tolerance() -> None:
    """Equal models: the first move is by an angle of zero."""
    model = torch.tensor([[3.0, 4.0]])
    for tolerance in (0.0, -1.0):
        merged = merge("karcher", {"tolerance": tolerance}, torch.zeros(1, 2), [model, model])
        torch.testing.assert_close(merged, model)


@pytest.mark.parametrize("name", sorted(SPARSE))
def test_a_sparse_operator_is_a_function_one_finds_and_explains_its_own_parameters(
    name: str,
) -> None:
    found = OPERATORS[name]
    source = inspect.getsource(consensus)
    assert found.combine is getattr(consensus, name)
    assert f"def {name}(" in source
    assert found.parameters["normalize"] is (name not in SUMS)
    said = set(re.findall(r"^    (\w+): ", inspect.getdoc(found.combine) or "", re.MULTILINE))
    assert said == set(inspect.signature(found.combine).parameters)
    assert registry.find(name).paper.startswith("arXiv")


@pytest.mark.parametrize("name", sorted(SPARSE))
def test_what_is_measured_and_what_is_combined_have_the_same_defaults(name: str) -> None:
    """Whoever gives no density must get one density, in both functions of the operator."""
    found = OPERATORS[name]
    assert found.statistics is not None
    for key, parameter in registry.keywords(found.statistics).items():
        assert parameter == registry.keywords(found.combine)[key]
