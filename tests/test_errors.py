"""The tree in the docstring is the tree of the classes."""

import re

import pytest

from simmerge_hub import errors
from simmerge_hub.errors import SimmergeError

TREE = errors.__doc__ or ""


def drawn() -> dict[str, str]:
    """Class -> parent, from the lines of the tree."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in TREE.splitlines():
        found = re.match(r"([│├└─ ]*)([A-Z]\w+)(  |$)", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1] if depth else "Exception"
    return parents


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    real = {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert drawn() == real
    assert len(real) > 15


@pytest.mark.parametrize("name", drawn())
def test_every_error_says_what_it_means(name: str) -> None:
    kind = getattr(errors, name)
    assert kind.__doc__
    raised = kind("message", hint="what to do")
    assert (str(raised), raised.hint) == ("message", "what to do")
    assert kind("message").hint == ""
    assert isinstance(raised, SimmergeError)
