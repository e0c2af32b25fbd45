"""What mergekit's parameters are called here: every name, value and default is one of ours."""

from typing import Any

import pytest

from simmerge_hub.operators import OPERATORS
from simmerge_hub.operators.checking import check
from simmerge_hub.recipe.mergekit.parameters import METHODS, PARAMETER_NAMES, Parameter

OURS = [(name, p) for name, method in METHODS.items() for p in method.parameters if p.ours]


def ids(value: Any) -> str | None:
    return value.name if isinstance(value, Parameter) else None


def test_every_method_is_an_operator_and_every_operator_a_method() -> None:
    """But for those by regression, which mergekit lacks."""
    assert METHODS.keys() == OPERATORS.keys() - {"regmean", "delta_regmean"}


@pytest.mark.parametrize(("method", "parameter"), OURS, ids=ids)
def test_a_parameter_is_one_of_the_operator_s(method: str, parameter: Parameter) -> None:
    assert parameter.ours in OPERATORS[method].parameters
    values = (True, False) if parameter.kind == "flag" else (parameter.default,)
    for value in values if parameter.default is not None else ():
        said = parameter.words[value] if parameter.words else value
        check(method, {**_needed(method), parameter.ours: said}, _models(method), base=True)


def _needed(method: str) -> dict[str, Any]:
    """What has to be given: here half of everything."""
    needed = [p for p in METHODS[method].parameters if p.default is None and p.ours]
    values = {p.ours: (0.5,) * _models(method) if p.per_model else 0.5 for p in needed}
    return {name: value for name, value in values.items() if name in OPERATORS[method].parameters}


def _models(method: str) -> int:
    return OPERATORS[method].models[0]


@pytest.mark.parametrize("method", METHODS)
def test_what_the_base_is_for(method: str) -> None:
    """Deltas are taken from it, where not from zero; else it is one of the models."""
    ours = OPERATORS[method]
    kinds = {"optional"} if "origin" in ours.parameters else {"required"}
    assert METHODS[method].base in (kinds if ours.space != "weight" else {"ignored", "first"})
    assert (METHODS[method].base == "first") == (method == "slerp")


def test_defaults_are_mergekit_s() -> None:
    """Facts of 0.1.5 that decide what a recipe without them gives; ours differ in some."""

    def default(method: str, name: str) -> Any:
        (parameter,) = [p for p in METHODS[method].parameters if p.name == name]
        return parameter.default

    normalized = {m for m in METHODS if any(p.name == "normalize" for p in METHODS[m].parameters)}
    assert {m for m in normalized if default(m, "normalize")} == {"linear", "ties", "della"}
    rescaled = {m for m in METHODS if any(p.name == "rescale" for p in METHODS[m].parameters)}
    assert {m for m in rescaled if default(m, "rescale")} == {
        "dare_linear", "dare_ties", "della", "della_linear",
    }  # fmt: skip
    assert default("slerp", "t") is default("nearswap", "t") is None
    assert default("ties", "density") == default("sce", "select_topk") == 1.0


def test_one_name_for_two_things_is_told_apart() -> None:
    """`epsilon` is the spread of della's probabilities, and what ram calls no change."""
    (spread,) = [p for p in METHODS["della"].parameters if p.name == "epsilon"]
    (floor,) = [p for p in METHODS["ram"].parameters if p.name == "epsilon"]
    assert (spread.ours, spread.per_model) == ("epsilon", True)
    assert (floor.ours, floor.per_model) == ("floor", False)


def test_all_names_are_known() -> None:
    assert {"int8_mask", "weight", "lambda", "nuslerp_flatten", "eps"} <= PARAMETER_NAMES
    assert "weights" not in PARAMETER_NAMES  # ours
