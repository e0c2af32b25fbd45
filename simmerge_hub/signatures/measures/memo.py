"""Results kept as long as the objects they were made from: what makes a pair cost milliseconds."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

R = TypeVar("R")


def memoize(function: Callable[..., R]) -> Callable[..., R]:
    """Remember `function(a)` or `function(a, b)` for hashable-by-identity arguments.

    An argument that is no longer used elsewhere is forgotten with all that was made from it; so the
    result must not hold on to the arguments.
    """
    kept: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    @wraps(function)
    def call(*arguments: Any) -> R:
        place: Any = kept
        for argument in arguments[:-1]:
            place = place.setdefault(argument, WeakKeyDictionary())
        if arguments[-1] not in place:
            place[arguments[-1]] = function(*arguments)
        return place[arguments[-1]]

    return call
