"""The worked recipes: the merge runs on the Hub, the zoos can be read."""

from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from simmerge_hub import recipe
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.localhub import Hub
from simmerge_hub.publishing.verbs import merge
from simmerge_hub.zoo.catalogue import load_catalogue
from simmerge_hub.zoo.publish import publish

RECIPES = Path(__file__).parents[1] / "recipes"
MERGES = [p for p in sorted(RECIPES.glob("*.yaml")) if "simmerge" in yaml.safe_load(p.read_text())]
LEARNED = [RECIPES / "nano-learn.yaml"]  # read in tests/learning
ZOOS = [p for p in sorted(RECIPES.glob("*.yaml")) if p not in (*MERGES, *LEARNED)]


@pytest.fixture(scope="module", autouse=True)
def nano(hub: Hub) -> None:
    """The packaged zoo on the test Hub."""
    publish(nano_folder(), "nano")


@pytest.mark.parametrize("path", MERGES, ids=lambda p: p.stem)
def test_a_merge_runs_and_is_pinned(path: Path, tmp_path: Path) -> None:
    report = merge(path, tmp_path / "merged")
    assert all(source.commit for source in report.recipe.sources)
    again, why = recipe.load(tmp_path / "merged" / recipe.RECIPE_FILE)
    assert (again, why) == (report.recipe, None)
    assert sum(t.numel() for t in weights(tmp_path / "merged").values()) > 0


def test_the_demo_recipe_merges_with_ties(tmp_path: Path) -> None:
    """Against TIES written down again, in float64, on one tensor."""
    merge(RECIPES / "demo.yaml", tmp_path / "merged")
    name = "model.layers.0.mlp.up_proj.weight"
    base, code, math, merged = (
        weights(folder)[name].double()
        for folder in (*(nano_folder() / m for m in ("base", "code", "math")), tmp_path / "merged")
    )
    trimmed = []
    for delta in (code - base, math - base):
        least = delta.abs().flatten().sort(descending=True).values[delta.numel() // 2 - 1]
        trimmed.append(delta.where(delta.abs() >= least, 0))
    sign = (trimmed[0] + trimmed[1] >= 0).double() * 2 - 1
    agree = [delta.where(delta * sign > 0, 0) for delta in trimmed]
    count = sum((delta != 0).double() for delta in agree)
    expected = base + (agree[0] + agree[1]) / count.clamp(min=1)
    assert (merged - expected).abs().max() <= expected.abs().max() / 256


@pytest.mark.parametrize("path", ZOOS, ids=lambda p: p.stem)
def test_a_zoo_can_be_read(path: Path) -> None:
    catalogue = load_catalogue(path)
    assert catalogue.bases and catalogue.tasks


def weights(folder: Path) -> dict:
    """Every tensor of a model folder."""
    return {n: t for f in folder.glob("*.safetensors") for n, t in load_file(f).items()}
