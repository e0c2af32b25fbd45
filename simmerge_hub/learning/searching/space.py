"""What a search may try: operators with ranges for weights, density and scale.

Knows nothing of models, but how many there are.
"""

from collections.abc import Mapping
from typing import Any

from simmerge_hub.operators import Arm, check

Range = tuple[float, float]
WEIGHT: Range = (0.1, 0.9)
"""Of each model, before they are divided by their sum."""
RANGES: dict[str, dict[str, Range]] = {
    "linear": {},
    "ties": {"density": (0.1, 1.0), "scale": (0.5, 1.5)},
    "task_arithmetic": {"scale": (0.3, 1.5)},
    "regmean": {"alpha": (0.5, 0.99)},
}
"""Operator -> its parameter -> lowest and highest value that is tried."""
DIGITS = 3
"""Decimals of what is tried: recipes are read by people."""


def arm_from(params: Mapping[str, Any], models: int) -> Arm:
    """What a point of the space stands for: `{"operator": "ties", "ties.density": 0.3, …}`."""
    operator = str(params["operator"])
    own = {name: round(float(params[f"{operator}.{name}"]), DIGITS) for name in RANGES[operator]}
    shares = [float(params[f"weight.{i}"]) for i in range(models)]
    whole = _whole(operator, models) / sum(shares)
    parameters = {**own, "weights": tuple(round(share * whole, DIGITS) for share in shares)}
    check(operator, parameters, models)
    return Arm(operator=operator, parameters=parameters)


def params_of(chosen: Arm, models: int) -> dict[str, Any] | None:
    """The point of the space that an arm is nearest to; None if its operator is not in it."""
    if chosen.operator not in RANGES:
        return None
    whole = _whole(chosen.operator, models)
    weights = chosen.parameters.get("weights") or (whole / models,) * models
    params: dict[str, Any] = {"operator": chosen.operator}
    for i, weight in enumerate(weights):
        params[f"weight.{i}"] = _inside(float(weight) / whole, WEIGHT)
    for name, limits in RANGES[chosen.operator].items():
        default = 1.0 if name == "scale" else limits[1]
        params[f"{chosen.operator}.{name}"] = _inside(
            float(chosen.parameters.get(name, default)), limits
        )
    return params


def _whole(operator: str, models: int) -> float:
    """What weights sum to: one, but for a sum of deltas, where each counts whole."""
    return float(models) if operator == "task_arithmetic" else 1.0


def _inside(value: float, limits: Range) -> float:
    return min(max(value, limits[0]), limits[1])
