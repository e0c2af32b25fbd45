"""The front door: names, loaded when used."""

import subprocess
import sys
from importlib import import_module

import pytest

import simmerge_hub


def test_all_is_what_is_exported() -> None:
    assert set(simmerge_hub.__all__) == {*simmerge_hub._HOMES, "__version__"}
    assert simmerge_hub.__all__ == sorted(simmerge_hub.__all__)
    assert dir(simmerge_hub) == sorted(simmerge_hub.__all__)


@pytest.mark.parametrize("name", sorted(simmerge_hub._HOMES))
def test_every_name_is_there(name: str) -> None:
    home = import_module(f"simmerge_hub.{simmerge_hub._HOMES[name]}")
    assert getattr(simmerge_hub, name) is getattr(home, name)
    assert getattr(simmerge_hub, name).__doc__


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="simmerge_hub has no 'mrege'"):
        _ = simmerge_hub.mrege


def test_the_import_is_light() -> None:
    """STYLE rule 8: what is heavy is loaded by what uses it."""
    heavy = {"torch", "transformers", "peft", "xgboost", "huggingface_hub", "numpy", "yaml", "rich"}
    script = "import simmerge_hub, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "simmerge_hub" in loaded
    assert not heavy & set(loaded)
