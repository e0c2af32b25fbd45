"""Parameters that change from tensor to tensor: over the depth, by name, by model.

A parameter's value is a scalar, a list with one value for each model, or one of

    {gradient: [0, 0.5, 1]}                over the layers, from the first to the last
    {filter: {mlp: 0.3, "*": 0.7}}         the first text that the tensor's name holds; "*" is any

and these nest: a list of gradients, a filter of gradients. The terms are mergekit's, and so is the
depth: layer i of n lies at i / (n − 1), the only layer of a slice at 1, tensors outside layers at
0. Numbers of a gradient are interpolated; words and truth values are taken from the nearest before.
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from simmerge_hub.errors import RecipeError

ANY = "*"
ROUNDING = 1e-9
"""By how much less than it is a layer's place may come out: 1/49 · 49 is less than 1."""


def evaluate(parameters: Mapping[str, Any], tensor: str, depth: float) -> dict[str, Any]:
    """The parameters of an operator for one tensor.

    Args:
        parameters: as a step states them, checked by `refuse_malformed`.
        tensor: the tensor's name in the output.
        depth: 0 for the first layer of the slice, 1 for its last.
    """
    return {key: _evaluate_one(value, tensor, depth) for key, value in parameters.items()}


def is_scheduled(value: Any) -> bool:
    """Whether a value differs between tensors."""
    if isinstance(value, tuple | list):
        return any(map(is_scheduled, value))
    return isinstance(value, Mapping)


def extremes(parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Parameter sets that hold every value a schedule is made of at least once.

    What an operator takes at these it takes in between: ranges of parameters are intervals.
    """
    spread = {key: list(_leaves(value)) for key, value in parameters.items()}
    for chosen in zip_longest(*spread.values()) if spread else [()]:
        yield {
            key: spread[key][0] if value is None and spread[key][0] is not None else value
            for key, value in zip(spread, chosen, strict=True)
        }


def refuse_malformed(value: Any, where: str, *, inside: str = "") -> None:
    """RecipeError unless every mapping in a value is a gradient or a filter as described above."""
    if isinstance(value, tuple | list):
        if inside:
            raise _schedule_error(
                where, f"a {inside} holds a list; one value for each model goes outside"
            )
        for each in value:
            if isinstance(each, tuple | list):
                raise _schedule_error(where, "a list holds a list")
            refuse_malformed(each, where)
    if not isinstance(value, Mapping):
        return
    kind = next(iter(value), None) if len(value) == 1 else None
    if kind == "gradient":
        _refuse_gradient(value["gradient"], where)
    elif kind == "filter":
        _refuse_filter(value["filter"], where)
    else:
        raise _schedule_error(
            where, f"it is a mapping with the keys {', '.join(map(str, value)) or 'none'}"
        )


def _refuse_gradient(values: Any, where: str) -> None:
    if not isinstance(values, tuple | list) or not values:
        raise _schedule_error(where, "a gradient is a list of values")
    if any(isinstance(each, tuple | list | Mapping) for each in values):
        raise _schedule_error(where, "a gradient holds plain values only")


def _refuse_filter(cases: Any, where: str) -> None:
    if not isinstance(cases, Mapping) or not all(isinstance(key, str) for key in cases):
        raise _schedule_error(where, "a filter maps texts to values")
    if ANY not in cases:
        raise _schedule_error(where, f'its filter says nothing about other tensors: add "{ANY}"')
    for each in cases.values():
        if isinstance(each, Mapping) and "filter" in each:
            raise _schedule_error(where, "a filter holds another filter")
        refuse_malformed(each, where, inside="filter")


def _schedule_error(where: str, seen: str) -> RecipeError:
    return RecipeError(
        f"{where}: {seen}", hint="write {gradient: [0, 1]} or {filter: {mlp: 0.3, '*': 0.5}}"
    )


def _evaluate_one(value: Any, tensor: str, depth: float) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_evaluate_one(each, tensor, depth) for each in value)
    if not isinstance(value, Mapping):
        return value
    if "gradient" in value:
        return _interpolate(value["gradient"], depth)
    cases = value["filter"]
    matching = next((text for text in cases if text == ANY or text in tensor), ANY)
    return _evaluate_one(cases[matching], tensor, depth)


def _interpolate(values: tuple[Any, ...], depth: float) -> Any:
    place = depth * (len(values) - 1)
    if not all(type(each) in (int, float) for each in values):
        return values[int(place + ROUNDING)]
    low = int(place)
    share = place - low
    high = min(len(values) - 1, low + 1)
    return (1 - share) * values[low] + share * values[high]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        spread = [list(_leaves(each)) for each in value]
        for chosen in zip_longest(*spread) if spread else [()]:
            yield tuple(s[0] if c is None else c for s, c in zip(spread, chosen, strict=True))
    elif isinstance(value, Mapping):
        parts = value["gradient"] if "gradient" in value else value["filter"].values()
        for each in parts:
            yield from _leaves(each)
    else:
        yield value
