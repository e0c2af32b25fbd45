"""Whether an operator takes these parameters, this many models and this base.

What it refuses is refused in one sentence, before anything is read.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators.registry import UNFED, Operator, combine, find, measure, space_of
from simmerge_hub.units import spell_count

RANGES: Mapping[str, tuple[Callable[[float], bool], str, str]] = {
    "density": (lambda v: 0 < v <= 1, "is no share to keep", "a share of the entries in (0, 1]"),
    "gamma": (lambda v: 0 <= v < 1, "is no share", "a share of the entries in [0, 1)"),
    "alpha": (lambda v: 0 <= v <= 1, "is no share", "a factor in [0, 1]"),
    "ridge": (lambda v: v >= 0, "is negative", "a number of at least 0"),
    "steps": (lambda v: 0 <= v <= 1000, "is no number of steps", "a number from 0 to 1000"),
}
"""What a parameter of this name may be in every operator: test, complaint, cure."""


def check(
    name: str,
    parameters: Mapping[str, Any],
    models: int,
    *,
    base: bool = True,
    tried: bool = True,
) -> Operator:
    """The operator `name`, if it takes these parameters, this many models and this base.

    If `tried`, it is run once on a single entry, so that what it refuses itself is refused here
    too. The operator that is returned works on weights or deltas as the parameters say.
    """
    op = find(name)
    for key, value in parameters.items():
        if key not in op.parameters:
            raise OperatorError(
                f"{name} has no parameter {key!r}",
                hint=f"it takes: {', '.join(op.parameters) or 'none'}",
            )
        _check_value(op, key, value)
    op = replace(op, space=space_of(op, parameters))
    _check_inputs(op, models, base)
    for key in op.per_model:
        _check_length(op, key, parameters.get(key), models)
    if not tried:
        return op
    import torch

    chunk = torch.ones(models + (op.space == "anchored"), 1, 1)
    try:
        combine(op, chunk, measure(op, [chunk], parameters, UNFED), parameters, UNFED)
    except (RuntimeError, OverflowError) as error:  # a product of parameters beyond float32
        raise OperatorError(
            f"{name} cannot be run with {dict(parameters)}: {error}", hint="give smaller numbers"
        ) from error
    return op


def _check_inputs(op: Operator, models: int, base: bool) -> None:
    if op.needs_base and not base:
        way = ", or say origin: zero" if "origin" in op.parameters else ""
        raise OperatorError(
            f"{op.name} needs a base", hint=f"name a base, in a recipe as `base:`{way}"
        )
    least, most = op.models
    if models < least or (most is not None and models > most):
        allowed = f"{'exactly' if least == most else 'at least'} {spell_count(least, 'model')}"
        aside = " besides the base" if op.needs_base and least == most == 1 else ""
        raise OperatorError(
            f"{op.name} merges {allowed}{aside}, but {models} are given",
            hint="use another operator, or merge in several steps",
        )


def _check_value(op: Operator, key: str, value: Any) -> None:
    shown = f"{op.name}: {key} is {reprlib.repr(value)}"
    if key in op.unread:
        _check_unread(op, key, value)
    else:
        _check_kind(op, key, value, shown)
    if key in RANGES:
        allowed, complaint, cure = RANGES[key]
        values: list[Any] = [*value] if isinstance(value, list | tuple) else [value]
        if not all(allowed(each) for each in values if _is_number(each)):
            raise OperatorError(f"{shown}, and {complaint}", hint=f"give {cure}")


def _check_unread(op: Operator, key: str, value: Any) -> None:
    """Without its annotation only the default says what a parameter may be."""
    default, stated = op.parameters[key], op.unread[key]
    if value == default or (_is_number(value) and _is_number(default)):
        return
    raise OperatorError(
        f"{op.name}: what {key} may be is not known: its annotation, {stated}, names what is "
        "imported for type checkers only",
        hint=f"import what {stated} names outside `if TYPE_CHECKING:`",
    )


def _check_kind(op: Operator, key: str, value: Any, shown: str) -> None:
    default = op.parameters[key]
    if key in op.choices:
        if value not in op.choices[key]:
            raise OperatorError(shown, hint=f"give one of {', '.join(map(str, op.choices[key]))}")
    elif isinstance(default, bool):
        if type(value) is not bool:
            raise OperatorError(shown, hint="give true or false")
    elif key in op.per_model and isinstance(value, list | tuple):
        if not all(map(_is_number, value)):
            raise OperatorError(shown, hint="give a list of finite numbers")
    elif default is None:
        if value is not None:
            raise OperatorError(shown, hint="give a list of finite numbers")
    elif not _is_number(value):
        raise OperatorError(shown, hint="give a finite number")


def _check_length(op: Operator, key: str, value: Any, models: int) -> None:
    if isinstance(value, list | tuple) and len(value) != models:
        one = "weight" if key == "weights" else key
        many = key if key == "weights" else f"values of {key}"
        raise OperatorError(
            f"{op.name}: {len(value)} {many} for {models} models",
            hint=f"give one {one} for each model, in the order of the models",
        )


def _is_number(value: Any) -> bool:
    """Whether it is a number that float32 holds."""
    return isinstance(value, int | float) and type(value) is not bool and abs(value) < 2**127
