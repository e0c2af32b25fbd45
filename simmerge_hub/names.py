"""Names in a message: joined, the first of many, and what may have been meant by a wrong one."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

NEAR = 0.65
"""How alike a name must be to be suggested, 0 to 1."""


def join_names(names: Iterable[str]) -> str:
    """`a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def list_first(names: Sequence[str], shown: int = 3) -> str:
    """`a, b, c and 4 more`: the first of these names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean a or b?`: the known names nearest to one that is not; "" if none is near."""
    near = get_close_matches(name, dict.fromkeys(known), n=3, cutoff=NEAR)
    return f"did you mean {' or '.join(near)}?" if near else ""
