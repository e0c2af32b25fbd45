"""The version of the package: what it is called in requests, on cards and by `--version`.

Between two releases it stays the same, and the code does not: what was kept by other code is told
apart by a digest of it.
"""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

__version__ = "0.1.0"


@cache
def digest_code(*places: str) -> str:
    """sha256 of the code of rooms or modules of the package: `operators`, `weights/shapes.py`."""
    whole, package = sha256(), files("simmerge_hub")
    for place in places:
        _add_code(whole, package.joinpath(place))
    return whole.hexdigest()


def _add_code(whole: Any, place: Traversable) -> None:
    if place.is_dir():
        for each in sorted(place.iterdir(), key=lambda each: each.name):
            _add_code(whole, each)
    elif place.name.endswith(".py"):
        whole.update(place.read_bytes())
