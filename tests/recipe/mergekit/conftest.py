"""Recipes of mergekit: those beside this file, and short ones made from keys."""

from pathlib import Path
from typing import Any

import yaml

from simmerge_hub.recipe import Recipe, mergekit

FOLDER = Path(__file__).parent
RECIPES = sorted(FOLDER.glob("*.yml"))


def read(text: str = "", **keys: Any) -> Recipe:
    """A recipe of two models on the Hub, with these keys."""
    data = {"models": [{"model": "org/a"}, {"model": "org/b"}], **keys}
    return mergekit.read(text or yaml.safe_dump(data), "m.yml")


def parameters(method: str, *, base: str | None = "org/base", **given: Any) -> dict[str, Any]:
    """What the operator is called with."""
    head = {"base_model": base} if base else {}
    [step] = read(merge_method=method, **head, parameters=given).steps
    assert step.operator == method
    return dict(step.parameters)


def with_own(*own: dict[str, Any], method: str = "ties", **keys: Any) -> dict[str, Any]:
    """The same with parameters of each model."""
    models = [{"model": f"org/{n}", "parameters": p} for n, p in zip("abc", own, strict=False)]
    [step] = read(merge_method=method, base_model="org/base", models=models, **keys).steps
    return dict(step.parameters)


def case(value: Any, text: str = "") -> dict[str, Any]:
    """A value for tensors with this text in their name."""
    return {"filter": text, "value": value} if text else {"value": value}


def slices_yaml(*slices: dict[str, Any], **keys: Any) -> str:
    return yaml.safe_dump({"merge_method": "linear", "slices": list(slices), **keys})


def source(model: str, first: int, last: int, **own: Any) -> dict[str, Any]:
    return {"model": model, "layer_range": [first, last]} | ({"parameters": own} if own else {})
