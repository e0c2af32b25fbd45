"""One parameter as mergekit writes it <-> a value or schedule as a step states it.

mergekit's is a scalar, a list of scalars (a gradient), or a list of `{filter: text, value: ...}`.
Where no filter matches, the next scope is asked: source, slice, the whole, the default.
"""

import math
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from simmerge_hub.errors import RecipeError
from simmerge_hub.recipe import schedule
from simmerge_hub.recipe.mergekit.parameters import Kind, Parameter

Settings = Mapping[str, Any]
"""Parameter name -> setting: one `parameters:` of mergekit."""
TRUE = ("true", "yes", "on", "y", "t", "1")
FALSE = ("false", "no", "off", "n", "f", "0")
RENUMBERED = "its layers get other numbers in the output: filter by names without a number"
"""What to do about filters with digits in a slice whose layers move. mergekit filters a model's own
parameters by that model's names, here it is by the output's: the number of the layer differs."""
SUM_TOLERANCE = 1e-9
"""Relative spread of a sum of gradients that is one number."""


def resolve_setting(
    parameter: Parameter, scopes: Sequence[Settings], where: str, of: str = ""
) -> Any:
    """The value or schedule of a parameter.

    Args:
        parameter: which.
        scopes: settings in order of precedence.
        where: the recipe, for messages.
        of: the model whose parameter it is, if it is one's.

    Raises:
        RecipeError: a setting that mergekit does not read either, or none where it wants one.
    """
    cases: dict[str, Any] = {}
    for scope in scopes:
        if parameter.name in scope:
            for text, value in _cases(scope[parameter.name], parameter, where):
                cases.setdefault(text, value)
                if text == schedule.ANY:
                    return _join(cases)
    if parameter.default is None:
        whose = f" for {of}" if of else ""
        for_some = f" where no filter ({', '.join(cases)}) matches" if cases else ""
        raise RecipeError(
            f"{where}: missing required parameter {parameter.name}{whose}{for_some}",
            hint=f"add `{parameter.name}:` under `parameters:` of the model or of the whole recipe",
        )
    return _join(cases | {schedule.ANY: _translate(parameter, parameter.default)})


def map_scalars(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value or schedule with every number or word in it changed."""
    if isinstance(value, Mapping) and "filter" in value:
        return {
            "filter": {text: map_scalars(each, change) for text, each in value["filter"].items()}
        }
    if isinstance(value, Mapping):
        return {"gradient": tuple(change(each) for each in value["gradient"])}
    return change(value)


def combine(first: Any, second: Any, join: Callable[[Any, Any], Any]) -> Any:
    """One schedule from two, by a function of two gradients or scalars; None if it has none.

    Two filters that test different texts have no common form: a name may hold one text of each.
    """
    cases = [dict(_by_text(each)) for each in (first, second)]
    texts = [list(case) for case in cases if len(case) > 1] or [[schedule.ANY]]
    if texts[0] != texts[-1]:
        return None
    joined = {
        text: join(*(case.get(text, case[schedule.ANY]) for case in cases)) for text in texts[0]
    }
    return None if None in joined.values() else _join(joined)


def share_of_second(first: Any, second: Any) -> Any:
    """w₂ / (w₁ + w₂) of two weights or gradients, ½ where they cancel out; None: no gradient is.

    Between gradients it is one only if their sum is the same everywhere.
    """
    values = [_points(each) for each in (first, second)]
    steps = math.lcm(*(len(points) - 1 or 1 for points in values))
    depths = [step / steps for step in range(steps + 1)] if any(len(v) > 1 for v in values) else [0]
    grids = [
        [schedule.evaluate({"w": {"gradient": points}}, "", depth)["w"] for depth in depths]
        for points in values
    ]
    totals = [a + b for a, b in zip(*grids, strict=True)]
    if max(totals) - min(totals) > SUM_TOLERANCE * max(map(abs, totals)):
        return None
    if abs(totals[0]) < 1e-6:
        return 0.5
    shares = tuple(b / totals[0] for b in grids[1])
    return shares[0] if len(set(shares)) == 1 else {"gradient": shares}


def pointwise(join: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A function of two words or truth values, for gradients of equally many of them too."""

    def join_points(first: Any, second: Any) -> Any:
        a, b = _points(first), _points(second)
        longest = max(len(a), len(b))
        if {len(a), len(b)} - {1, longest}:
            return None
        a, b = (points * longest if len(points) == 1 else points for points in (a, b))
        values = tuple(map(join, a, b))
        return values[0] if longest == 1 else {"gradient": values}

    return join_points


def texts_with_digits(value: Any) -> list[str]:
    """The texts a schedule filters by that hold a digit: the number of a layer, most likely."""
    return [text for text, _ in _by_text(value) if any(map(str.isdigit, text))]


def scalars(value: Any) -> set[Any]:
    """Every number or word in a value or schedule."""
    return {each for _, case in _by_text(value) for each in _points(case)}


def to_setting(value: Any) -> Any:
    """A value or schedule as mergekit writes it."""
    if not isinstance(value, Mapping):
        return value
    if "gradient" in value:
        return list(value["gradient"])
    return [
        ({} if text == schedule.ANY else {"filter": text}) | {"value": to_setting(each)}
        for text, each in value["filter"].items()
    ]


def _join(cases: dict[str, Any]) -> Any:
    return cases[schedule.ANY] if len(cases) == 1 else {"filter": cases}


def _by_text(value: Any) -> Iterator[tuple[str, Any]]:
    held = isinstance(value, Mapping) and value.get("filter")
    yield from held.items() if held else [(schedule.ANY, value)]


def _points(value: Any) -> tuple[Any, ...]:
    return tuple(value["gradient"]) if isinstance(value, Mapping) else (value,)


def _cases(setting: Any, parameter: Parameter, where: str) -> Iterator[tuple[str, Any]]:
    """What a setting says, as (text that a name must hold, value)."""
    if isinstance(setting, list) and all(isinstance(each, dict) for each in setting):
        for case in setting:
            yield from _case(case, parameter, where)
    elif isinstance(setting, dict):
        yield from _case(setting, parameter, where)
    else:
        yield schedule.ANY, _gradient(setting, parameter, where)


def _case(case: dict[Any, Any], parameter: Parameter, where: str) -> Iterator[tuple[str, Any]]:
    text = case.get("filter")
    if "value" not in case or case.keys() - {"filter", "value"} or not isinstance(text, str | None):
        raise _setting_error(case, parameter, where)
    yield text or schedule.ANY, _gradient(case["value"], parameter, where)


def _gradient(value: Any, parameter: Parameter, where: str) -> Any:
    if not isinstance(value, list):
        return _translate(parameter, _scalar(value, parameter, where))
    if not value:
        raise _setting_error(value, parameter, where)
    if len(value) > 1 and parameter.kind == "whole":
        raise RecipeError(
            f"{where}: {parameter.name} is a gradient, and must be a whole number",
            hint=f"give one number for {parameter.name}",
        )
    points = tuple(_translate(parameter, _scalar(each, parameter, where)) for each in value)
    return points[0] if len(points) == 1 else {"gradient": points}


def _translate(parameter: Parameter, value: Any) -> Any:
    return parameter.words[value] if parameter.words else value


def _scalar(value: Any, parameter: Parameter, where: str) -> Any:
    """A number or truth value, which may be written as text: YAML reads 1e-5 as text."""
    scalar = _CONVERSIONS[parameter.kind](value) if isinstance(value, int | float | str) else None
    if scalar is None:
        raise _setting_error(value, parameter, where)
    return scalar


def _number(value: int | float | str) -> float | None:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _whole(value: int | float | str) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _flag(value: int | float | str) -> bool | None:
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value).lower()
    return True if text in TRUE else False if text in FALSE else None


_CONVERSIONS: Mapping[Kind, Callable[[int | float | str], Any]] = {
    "number": _number, "whole": _whole, "flag": _flag,
}  # fmt: skip


def _setting_error(value: Any, parameter: Parameter, where: str) -> RecipeError:
    kind = {"number": "a number", "whole": "a whole number", "flag": "true or false"}
    return RecipeError(
        f"{where}: {parameter.name} is {reprlib.repr(value)}",
        hint=f"give {kind[parameter.kind]}, a list of them (a gradient), or a list of "
        "`{filter: mlp, value: ...}`",
    )
