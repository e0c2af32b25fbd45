"""What merges are called before people: operators by their proper names, trees in one line."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simmerge_hub.operators import OPERATORS, Arm, find
from simmerge_hub.planning.tree import Tree
from simmerge_hub.units import spell_percent

PROPER: Mapping[str, str] = {
    "arcee_fusion": "Arcee Fusion",
    "breadcrumbs": "Breadcrumbs",
    "breadcrumbs_ties": "Breadcrumbs-TIES",
    "dare_linear": "DARE",
    "dare_ties": "DARE-TIES",
    "della": "DELLA",
    "della_linear": "DELLA without signs",
    "delta_regmean": "RegMean without data",
    "karcher": "Karcher mean",
    "linear": "plain average",
    "model_stock": "Model Stock",
    "multislerp": "multi-SLERP",
    "nearswap": "NearSwap",
    "nuslerp": "NuSLERP",
    "passthrough": "pass-through",
    "ram": "RAM",
    "ramplus_tl": "RAM+",
    "regmean": "RegMean",
    "sce": "SCE",
    "slerp": "SLERP",
    "task_arithmetic": "task arithmetic",
    "ties": "TIES",
}
"""Operators as papers write them; one that is not here is called as in recipes."""
SILENT = ("alpha", "inputs", "weights")
"""Parameters that are said in other words, or not at all."""


def name_operator(operator: str, parameters: Mapping[str, Any]) -> str:
    """`TIES (density 0.2)`: the operator with what tells it from its siblings.

    Args:
        operator: its name in recipes.
        parameters: those that are set; a scale of 1 is not said, and `weights` are `name_arm`'s.
    """
    name = PROPER.get(operator, operator.replace("_", " "))
    if operator == "regmean" and parameters.get("inputs") == "merge":
        name = "RegMean++"
    silent = {*SILENT, *(["scale"] if parameters.get("scale") == 1 else [])}
    said = [
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in sorted(parameters.items())
        if key not in silent
    ]
    return f"{name} ({', '.join(said)})" if said else name


def name_arm(arm: Arm, models: Sequence[str]) -> str:
    """`RegMean++, 70 % code + 30 % math`: an arm that merges these models, in this order.

    Where weights are no shares of a whole they are said as they are: `1 × code + 0.4 × math`.
    """
    name = name_operator(arm.operator, arm.parameters)
    weights = arm.parameters.get("weights")
    if not weights or len(weights) != len(models):
        return name
    total, each = sum(weights), zip(weights, models, strict=True)
    known = find(arm.operator).parameters if arm.operator in OPERATORS else {}
    if arm.parameters.get("normalize", known.get("normalize", True)) and total:
        shares = (f"{spell_percent(w / total)} {m}" for w, m in each)
    else:
        shares = (f"{w:g} × {m}" for w, m in each)
    return f"{'average' if name == PROPER['linear'] else name}, {' + '.join(shares)}"


def shorten(names: Sequence[str]) -> Callable[[str], str]:
    """How models are called where room is short: by their last part, if that tells them apart."""
    last = {name: name.rpartition("/")[2] for name in names}
    alike = list(last.values())
    return lambda name: name if alike.count(last.get(name, "")) != 1 else last[name]


def name_tree(tree: Tree, short: Callable[[str], str]) -> str:
    """`SLERP of (plain average of code + math) + rag`: a tree in one line.

    Args:
        tree: what is merged with what.
        short: how a model is called.
    """
    if tree.arm is None:
        return short(tree.models[0])
    parts = [name_tree(part, short) for part in tree.parts]
    inner = [
        f"({text})" if part.arm else text for part, text in zip(tree.parts, parts, strict=True)
    ]
    if tree.arm.parameters.get("weights"):
        return name_arm(tree.arm, inner)
    return f"{name_arm(tree.arm, inner)} of {' + '.join(inner)}"
