"""Pages say what the code says: generated pages, the tree, lists of files and of keys."""

import ast
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

import simmerge_hub
from simmerge_hub import recipe
from simmerge_hub.errors import RecipeError
from simmerge_hub.operators import OPERATORS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["reference/cli.md", "reference/tree.md"])
def test_generated_code_is_seen_whole(name: str) -> None:
    """On a screen of 1280 pixels 80 columns are; the usage of `plan` was a row of 506."""
    blocks = re.findall(r"^```text\n(.*?)^```", page(name), re.MULTILINE | re.DOTALL)
    rows = [row for block in blocks for row in block.splitlines()]
    assert rows and [row for row in rows if len(row) > 80] == []


def test_the_tree_lists_every_module() -> None:
    package = ROOT / "simmerge_hub"
    there = {p.name for p in package.rglob("*.py") if p.name != "__init__.py"}
    assert set(re.findall(r"^ *(\w+\.py) +\S", page("reference/tree.md"), re.MULTILINE)) == there


def test_docstrings_name_modules_that_are_there() -> None:
    """`hub.ledger` had long been `hub.upload.ledger`."""
    package = ROOT / "simmerge_hub"
    rooms = {p.name for p in package.iterdir() if (p / "__init__.py").exists()}
    gone = []
    for path in package.rglob("*.py"):
        said = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        for name in re.findall(r"`(?:simmerge_hub\.)?([a-z_]+(?:\.[a-z_]+)+)[.`]", said):
            room, *inner = name.split(".")
            place = package.joinpath(room, *inner)
            if room in rooms and not (place.with_suffix(".py").is_file() or _is_door(place)):
                gone.append((path.name, name))
    assert gone == []


def test_the_readme_lists_every_room() -> None:
    package = ROOT / "simmerge_hub"
    there = {f"{p.name}/" for p in package.iterdir() if (p / "__init__.py").exists()}
    readme = (ROOT / "README.md").read_text("utf-8")
    assert set(re.findall(r"^[├└]── (\w+/) +[A-Zp]", readme, re.MULTILINE)) == there


def test_the_readme_says_what_the_packaged_predictor_reaches() -> None:
    selector = ROOT / "simmerge_hub" / "selector" / "predictor"
    report = json.loads((selector / "default.json").read_text())["report"]
    pairs = report["pairs"]["all"]["strategies"]
    arms = json.loads((ROOT / "benchmarks" / "activations.json").read_text())["pooled"]["arms"]
    on_weights = max(each["mean"] for name, each in arms.items() if not name.startswith("regmean"))
    real = json.loads((selector / "measured" / "real_pairs.json").read_text())
    found = json.loads((ROOT / "benchmarks" / "real_pairs.json").read_text())
    again, family = found["again"], found["family"]
    fed = "regmean(alpha=0.98, inputs=merge)"
    prompts = json.loads((selector / "measured" / "prompts.json").read_text())
    by_prompts = prompts["gains"][fed]
    best = max(gain for name, gain in real["gains"].items() if name.startswith("regmean"))
    said = [
        f"from {report['models']} nano models and {report['rows']:,} measured cases.",
        f"it closes {pairs['xgboost']['mean']:.2f} of the gap,",
        f"RegMean always {pairs['best fixed']['mean']:.2f},",
        f"on weights alone {on_weights:.2f} ",
        f"On {real['pairs']} pairs of a real language",
        f"RegMean closes {best:.2f} of the gap",
        f"equal Linear {real['gains']['linear']:.2f}; on {again['pairs']} of a second build "
        f"{again['arms'][fed]['mean']:.2f} and {again['arms']['linear']['mean']:.2f}, "
        f"on {family['pairs']} of another family's model {family['arms'][fed]['mean']:.2f} and "
        f"{family['arms']['linear']['mean']:.2f}.",
        f"By the package's prompts, for experts of two domains, {by_prompts['package']:.2f}.",
    ]
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert [each for each in said if each not in readme] == []


def test_no_hall_has_more_than_twelve_doors() -> None:
    package = ROOT / "simmerge_hub"
    halls = [p.parent for p in package.rglob("__init__.py") if p.parent != package]
    doors = {h: [p for p in h.iterdir() if p.name != "__init__.py" and _is_door(p)] for h in halls}
    assert {h.name: len(d) for h, d in doors.items() if len(d) > 12} == {}


def _is_door(place: Path) -> bool:
    return place.suffix == ".py" or (place / "__init__.py").exists()


def test_the_recipes_are_listed() -> None:
    there = {p.name for p in (ROOT / "recipes").glob("*.yaml")}
    listed = re.findall(r"^\| \[([\w-]+\.yaml)\]", page("../recipes/README.md"), re.MULTILINE)
    assert set(listed) == there


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2].partition("\n\n")[0]
    there = {p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md")}
    assert set(re.findall(r"[\w/-]+\.md", nav)) == there


def test_every_operator_has_a_section_of_conventions() -> None:
    conventions = page("reference/operators.md").partition("## How others define")[2]
    headings = re.findall(r"^### ([a-z_, ]+)$", conventions, re.MULTILINE)
    assert set(", ".join(headings).split(", ")) == set(OPERATORS)


@pytest.mark.parametrize(
    ("heading", "place"), [("Top level", ()), ("A model", ("models", 0)), ("A step", ("steps", 0))]
)
def test_the_keys_of_a_recipe_are_documented(heading: str, place: tuple[Any, ...]) -> None:
    section = page("reference/recipe.md").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    keys = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert keys
    for key in keys:
        assert not refuses(place, key), f"{key} is documented and refused"
    assert refuses(place, "no_such_key")


def test_the_keys_of_a_why_are_documented() -> None:
    table = page("reference/recipe.md").partition("## `why`\n")[2]
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    keys = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert set(keys) - {"key"} == {"unit", "seal", *(f.name for f in fields(recipe.Why))}


def refuses(place: tuple[Any, ...], key: str) -> bool:
    """Whether a recipe is refused for having this key at this place."""
    data: dict[str, Any] = {
        "simmerge": 1,
        "models": [{"name": "a", "model": "org/a"}, {"name": "b", "model": "org/b"}],
        "steps": [{"operator": "linear", "models": ["a", "b"]}],
    }
    inner: Any = data
    for step in place:
        inner = inner[step]
    inner.setdefault(key, None)
    try:
        recipe.parse(yaml.safe_dump(data), "a recipe")
    except RecipeError as error:
        return "unknown keys" in str(error) or "is written as" in str(error)
    except Exception:
        return False  # the key is known, and None is no value for it
    return False


def test_the_changelog_has_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{simmerge_hub.__version__}]" in changes


def page(name: str) -> str:
    """The text of a page of the documentation."""
    return (DOCS / name).read_text("utf-8")
