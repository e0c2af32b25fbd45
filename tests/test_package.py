"""The front door: names, loaded when used."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import simmerge_hub

BANDIT = simmerge_hub._MODULES["bandit"]

DOCS = Path(__file__).parents[1] / "docs"


def targets() -> dict[str, str]:
    """Name -> where it is, as reference pages write it."""
    places = {name: home.partition(":") for name, home in simmerge_hub._HOMES.items()}
    return {name: f"simmerge_hub.{home}.{at or name}" for name, (home, _, at) in places.items()}


def test_all_is_what_is_exported() -> None:
    names = {*simmerge_hub._HOMES, *simmerge_hub._MODULES, "__version__"}
    assert set(simmerge_hub.__all__) == names
    assert simmerge_hub.__all__ == sorted(simmerge_hub.__all__)
    assert dir(simmerge_hub) == sorted(simmerge_hub.__all__)


@pytest.mark.parametrize("name", sorted(simmerge_hub._HOMES))
def test_every_name_is_there(name: str) -> None:
    module, _, attribute = targets()[name].rpartition(".")
    assert getattr(simmerge_hub, name) is getattr(import_module(module), attribute)
    assert getattr(simmerge_hub, name).__doc__


@pytest.mark.parametrize("name", sorted(simmerge_hub._MODULES))
def test_every_module_is_there(name: str) -> None:
    assert getattr(simmerge_hub, name).__name__ == f"simmerge_hub.{simmerge_hub._MODULES[name]}"


def test_the_reference_page_has_every_name_and_no_other() -> None:
    page = (DOCS / "reference" / "api.md").read_text("utf-8")
    listed = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    of_modules = [t for t in listed if t.startswith(f"simmerge_hub.{BANDIT}.")]
    names = targets()
    assert names.pop("SimmergeError") == "simmerge_hub.errors.SimmergeError"
    assert sorted(listed) == sorted([*names.values(), *of_modules])
    assert all(hasattr(simmerge_hub.bandit, t.rpartition(".")[2]) for t in of_modules)
    assert all(f"simmerge_hub.{name}`" in page for name in simmerge_hub._MODULES)


def test_what_the_documentation_uses_is_reachable_from_the_top() -> None:
    """Only a local Hub's inside and the nano models' questions are imported from farther down."""
    deep = {"simmerge_hub.localhub.store.storage", "simmerge_hub.zoo.answers"}
    for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]:
        text = page.read_text("utf-8")
        for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            modules = re.findall(r"^(?:from|import) (simmerge_hub\S*)", block, re.MULTILINE)
            assert set(modules) <= {"simmerge_hub", *deep}, page


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
