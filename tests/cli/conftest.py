"""A recipe as a file, for commands that merge."""

from pathlib import Path

import pytest

from simmerge_hub.recipe import Recipe, Source, Step
from tests import nano


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The mean of two models, as a file."""
    for seed, name in enumerate("ab"):
        nano.save(tmp_path / name, nano.weights(seed))
    mean = Recipe(
        base=None,
        models=tuple(Source(name=name, folder=tmp_path / name) for name in "ab"),
        steps=(Step(operator="linear", models=("a", "b"), parameters={}),),
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(mean.to_yaml())
    return path
