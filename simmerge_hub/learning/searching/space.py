"""What a search may try: operators with ranges for weights, density and scale.

Knows nothing of models, but how many there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simmerge_hub.operators import Arm, check, find

Range = tuple[float, float]
WEIGHT: Range = (0.1, 0.9)
"""Of each model, before they are divided by their sum."""
RANGES: dict[str, dict[str, Range]] = {
    "linear": {},
    "ties": {"density": (0.1, 1.0), "scale": (0.5, 1.5)},
    "task_arithmetic": {"scale": (0.3, 1.5)},
    "regmean": {"alpha": (0.5, 0.99)},
    "regmean++": {"alpha": (0.5, 0.99)},
}
"""Operator -> its parameter -> lowest and highest value that is tried."""
VARIANTS = {"regmean++": ("regmean", {"inputs": "merge"})}
"""Operators of the space that are another with a setting: RegMean++ is RegMean whose layers are fed
what the merge's own leave."""
DIGITS = 3
"""Decimals of what is tried: recipes are read by people."""


def arm_from(params: Mapping[str, Any], models: int) -> Arm:
    """What a point of the space stands for: `{"operator": "ties", "ties.density": 0.3, …}`."""
    name = str(params["operator"])
    operator, setting = VARIANTS.get(name, (name, {}))
    own = {each: round(float(params[f"{name}.{each}"]), DIGITS) for each in RANGES[name]}
    shares = [float(params[f"weight.{i}"]) for i in range(models)]
    whole = _whole(operator, models) / sum(shares)
    parameters = {
        **own,
        **setting,
        "weights": tuple(round(share * whole, DIGITS) for share in shares),
    }
    check(operator, parameters, models)
    return Arm(operator=operator, parameters=parameters)


def params_of(chosen: Arm, models: int) -> dict[str, Any] | None:
    """The point of the space that an arm is nearest to; None if there is none.

    A point says how much each model counts beside the others; where the arm's weights sum to more
    or less than those of `arm_from`, its scale makes up for it.
    """
    operator = _name_in_space(chosen)
    weights = [float(w) for w in chosen.parameters.get("weights") or (1.0,) * models]
    if operator is None or sum(weights) <= 0:
        return None
    params: dict[str, Any] = {"operator": operator}
    for i, weight in enumerate(weights):
        params[f"weight.{i}"] = _inside(weight / sum(weights), WEIGHT)
    for name, limits in RANGES[operator].items():
        value = float(chosen.parameters.get(name, find(chosen.operator).parameters[name]))
        if name == "scale":
            value *= _strength(chosen, weights)
        params[f"{operator}.{name}"] = _inside(value, limits)
    return params


def points_of(arms: Iterable[Arm], models: int) -> list[dict[str, Any]]:
    """The points of those arms that the space has, each once, in order."""
    points: list[dict[str, Any]] = []
    for chosen in arms:
        params = params_of(chosen, models)
        if params and params not in points:
            points.append(params)
    return points


def _name_in_space(chosen: Arm) -> str | None:
    for name, (operator, setting) in VARIANTS.items():
        if chosen.operator == operator and setting.items() <= chosen.parameters.items():
            return name
    return chosen.operator if chosen.operator in RANGES else None


def _whole(operator: str, models: int) -> float:
    """What weights sum to: one, but for a sum of deltas, where each counts whole."""
    return float(models) if operator == "task_arithmetic" else 1.0


def _strength(chosen: Arm, weights: Sequence[float]) -> float:
    """What the weights of an arm sum to, as a share of what those of `arm_from` do; 1 where the
    operator divides them by their sum."""
    if chosen.operator != "task_arithmetic":
        return 1.0
    total = 1.0 if chosen.parameters.get("normalize") else sum(weights)
    return total / _whole(chosen.operator, len(weights))


def _inside(value: float, limits: Range) -> float:
    return min(max(value, limits[0]), limits[1])
