"""What a merge says it did is what lies in its folder."""

import importlib.metadata
from pathlib import Path

import numpy as np
import torch

from simmerge_hub import __version__
from simmerge_hub.merger import merge
from simmerge_hub.merger.report import versions
from simmerge_hub.recipe import Recipe, Source, Step
from tests import nano


def test_versions_are_those_of_what_runs() -> None:
    assert versions() == {
        "simmerge-hub": importlib.metadata.version("simmerge-hub"),
        "torch": importlib.metadata.version("torch"),
        "numpy": np.__version__,
    }
    assert torch.__version__.startswith(versions()["torch"].partition("+")[0])
    assert __version__ == versions()["simmerge-hub"]


def test_a_report_is_of_the_folder(tmp_path: Path) -> None:
    names = ("a", "b")
    for seed, name in enumerate(names):
        nano.save(tmp_path / name, nano.weights(seed))
    recipe = Recipe(
        base=None,
        models=tuple(Source(name=name, folder=tmp_path / name) for name in names),
        steps=(Step(operator="linear", models=names, parameters={}),),
    )
    report = merge(recipe, tmp_path / "out")
    files = list(report.folder.glob("*.safetensors"))
    assert report.folder == tmp_path / "out"
    assert report.size == sum(file.stat().st_size for file in files)
    assert report.tensors == len(nano.load(report.folder)) == len(nano.weights())
    assert list(report.checkpoints) == ["a", "b"]
    assert report.versions == versions()
    assert [source.name for source in report.recipe.models] == ["a", "b"]
    assert report.seconds > 0
