"""Recipes of mergekit merged here, against its answers.

The YAML beside this file was run through mergekit 0.1.5 by benchmarks/parity_recipes.py.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks import parity_recipes
from simmerge_hub.merger import merge
from simmerge_hub.recipe import mergekit
from tests.recipe.mergekit.conftest import (
    FOLDER,
    RECIPES,
    parameters,
    slices_yaml,
    source,
)

PARITY = json.loads((FOLDER / "parity.json").read_text())
BORDERLINE = {("arcee_fusion", "model.embed_tokens.weight")}
"""One of 768 entries lies at the threshold: mergekit takes it in float32, and not in float64."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those that mergekit merged, bit for bit."""
    folder = tmp_path_factory.mktemp("parity")
    assert parity_recipes.build(folder) == PARITY["inputs"]
    return folder


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_whole_merge(
    path: Path, checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoints)
    merge(mergekit.read(path.read_text(), path.name), tmp_path / "out", durable=False)
    fingerprint = parity_recipes.fingerprint(
        tmp_path / "out", by_token=path.stem.startswith("tokenizer")
    )
    wanted = PARITY["outputs"][path.stem]
    assert fingerprint.keys() == wanted.keys()
    close = 0.02 if path.stem == "out_dtype" else 1e-5
    for name in wanted:
        if isinstance(wanted[name], dict):
            assert fingerprint[name].keys() == wanted[name].keys()
            for token, row in wanted[name].items():
                assert fingerprint[name][token] == pytest.approx(row, abs=close), (name, token)
        else:
            shape, products = fingerprint[name]
            assert shape == wanted[name][0], name
            alike = products == pytest.approx(wanted[name][1], abs=close)
            assert alike == ((path.stem, name) not in BORDERLINE), name


def test_the_last_slice_makes_the_head_with_all_its_models(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mergekit would take as many of them as the first slice has."""
    monkeypatch.chdir(checkpoints)
    text = slices_yaml(
        {"sources": [source("a", 0, 2)]},
        {"sources": [source("a", 2, 4), source("b", 2, 4)]},
        parameters={"weight": 1},
    )
    merge(mergekit.read(text, "m.yml"), tmp_path / "out", durable=False)
    name = "lm_head.weight"
    a, b, merged = (
        load_file(folder / "model.safetensors")[name]
        for folder in (Path("a"), Path("b"), tmp_path / "out")
    )
    torch.testing.assert_close(merged, (a + b) / 2)


@pytest.mark.parametrize("operator", ["dare_linear", "dare_ties", "della", "della_linear"])
def test_random_operators_are_only_translated(operator: str) -> None:
    """Their draws differ; docs/reference/operators-parity.md compares them on a common mask."""
    translated = parameters(operator, weight=1, density=0.4)
    assert translated["density"] == 0.4
    assert translated["rescale"] == "l1"
    assert torch.tensor(translated["weights"]).tolist() == [1, 1]
