"""No card names a package index as our home, and one constant says where that is."""

import re
from pathlib import Path

import pytest

import simmerge_hub
from simmerge_hub.publishing.sections import home

PACKAGE = Path(simmerge_hub.__file__).parent
ROOT = PACKAGE.parent
INDEX = re.compile(r"pypi\.org|pypi\.python\.org|anaconda\.org", re.IGNORECASE)


def test_a_name_without_a_home_is_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.HOME == ""
    assert home.program() == "simmerge-hub"
    monkeypatch.setattr(home, "HOME", "https://example.org/simmerge-hub")
    assert home.program() == "[simmerge-hub](https://example.org/simmerge-hub)"


def test_no_file_names_a_package_index_as_our_home() -> None:
    """Cards are made by the package; pages and the project's own files are read by people."""
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.md"), *ROOT.glob("*.md")]
    files += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "recipes").rglob("*.md")]
    files += [ROOT / "pyproject.toml", ROOT / "mkdocs.yml"]
    named = [f for f in files if INDEX.search(f.read_text("utf-8"))]
    assert named == []
