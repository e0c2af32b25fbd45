"""Figures of maps: written, of a plausible size, the same bytes again, whatever the names are."""

import importlib.util
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from simmerge_hub.errors import MissingExtra, OutputError
from simmerge_hub.publishing import picture
from simmerge_hub.publishing.figures import files
from simmerge_hub.signatures.map.similarities import ModelMap, compare_models
from simmerge_hub.signatures.signing.signature import Settings, Signature

LAYERS, WIDTH = 6, 24


def models(count: int, names: list[str] | None = None) -> tuple[list[Signature], Signature]:
    """Signatures in two camps, and their base."""
    tensors = [f"model.layers.{layer}.mlp.up_proj.weight" for layer in range(LAYERS)]
    generator = torch.Generator().manual_seed(0)

    def noise() -> dict[str, torch.Tensor]:
        return {n: torch.randn(WIDTH, WIDTH, generator=generator) for n in tensors}

    def signature(name: str, sampled: dict[str, torch.Tensor]) -> Signature:
        return Signature(
            name=name, commit=None, digest=name, kind="full", settings=Settings(),
            shapes=dict.fromkeys(tensors, (WIDTH, WIDTH)), sampled=sampled,
        )  # fmt: skip

    base, camps = noise(), [noise(), noise()]
    made = []
    for i in range(count):
        own = noise()
        moved = {n: t + 0.1 * camps[i % 2][n] + 0.1 * own[n] for n, t in base.items()}
        made.append(signature(names[i] if names else f"org/model-{i}", moved))
    return made, signature("org/base", base)


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG in pixels."""
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return struct.unpack(">II", head[16:24])


def with_behaviour(model_map: ModelMap) -> ModelMap:
    """The map as if all had been probed."""
    return replace(
        model_map, pairs={**model_map.pairs, "js": 0.1 * (1 - model_map.pairs["delta_cosine"])}
    )


@pytest.mark.parametrize("count", [2, 5, 9, 17, 40])
def test_a_figure_for_any_number_of_models(count: int, tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    picture.draw(compare_models(*models(count)), path)
    width, height = size(path)
    assert 900 < width < 2600
    assert 700 < height < 2200
    assert 15_000 < path.stat().st_size < 600_000


def test_behaviour_has_a_map_of_its_own(tmp_path: Path) -> None:
    model_map = compare_models(*models(8))
    picture.draw(model_map, tmp_path / "one.png")
    picture.draw(with_behaviour(model_map), tmp_path / "two.png")
    assert size(tmp_path / "two.png")[0] > 1.4 * size(tmp_path / "one.png")[0]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf", "PNG"])
def test_the_same_map_gives_the_same_bytes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib

    model_map = compare_models(*models(4))
    picture.draw(model_map, tmp_path / f"first.{kind}")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)
    picture.draw(model_map, tmp_path / f"again.{kind}")
    first, again = ((tmp_path / f"{n}.{kind}").read_bytes() for n in ("first", "again"))
    assert first == again
    assert not re.search(rb"20\d\d-\d\d-\d\d|CreationDate", first)


def test_nothing_is_cut_off(tmp_path: Path) -> None:
    """A frame of white around everything, with long names and two maps too."""
    from matplotlib import image

    names = [f"an-organisation-of-some-length/Model-{i}-7B-Instruct" for i in range(12)]
    for count in (2, 12):
        model_map = compare_models(*models(count, names))
        for which in (model_map, with_behaviour(model_map)):
            path = tmp_path / "map.png"
            picture.draw(which, path)
            pixels = image.imread(path)[..., :3]
            frame = (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:])
            assert all((edge == 1).all() for edge in frame)


def test_any_name_can_be_drawn(tmp_path: Path) -> None:
    names = ["a$b$c_d^e", "名前", "[red]", "two\nlines", "x" * 200]
    picture.draw(compare_models(*models(5, names)), tmp_path / "map.svg")
    assert (tmp_path / "map.svg").stat().st_size > 10_000


def test_missing_numbers_are_drawn_as_missing(tmp_path: Path) -> None:
    made, base = models(3)
    still = [*made, replace(base, name="copy"), replace(base, name="copy-2")]
    model_map = compare_models(still, base)
    assert np.isnan(model_map.pairs["delta_cosine"]).any()
    picture.draw(model_map, tmp_path / "map.png")
    picture.draw(compare_models(still[3:], base), tmp_path / "nothing.png")
    assert size(tmp_path / "nothing.png")


def test_maps_without_base_or_layers(tmp_path: Path) -> None:
    made, _ = models(3)
    picture.draw(compare_models(made), tmp_path / "map.png")

    def flat(model: Signature) -> Signature:
        tensor = next(iter(model.sampled.values()))
        return replace(model, shapes={"w": tuple(tensor.shape)}, sampled={"w": tensor})

    picture.draw(compare_models([flat(model) for model in made]), tmp_path / "flat.png")
    assert size(tmp_path / "flat.png")[1] < size(tmp_path / "map.png")[1]


def test_wrong_outputs(tmp_path: Path) -> None:
    model_map = compare_models(*models(2))
    with pytest.raises(OutputError, match=r"map\.txt is no name for a figure") as stop:
        picture.draw(model_map, tmp_path / "map.txt")
    assert stop.value.hint == "end it in .png, .svg, .pdf"
    with pytest.raises(OutputError, match=r"there is no folder .*gone to write the figure in"):
        picture.draw(model_map, tmp_path / "gone" / "map.png")


def test_matplotlib_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="matplotlib, which is not installed") as stop:
        files.check(tmp_path / "map.png")
    assert stop.value.hint == "pip install 'simmerge-hub[map]'"
    code = (
        "import sys, simmerge_hub.publishing.picture; "
        "assert not {'matplotlib', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
