"""simmerge-hub map: what is printed, drawn and refused."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from simmerge_hub.cli import map as room
from simmerge_hub.cli import show
from simmerge_hub.cli.main import main
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.signatures.map.similarities import Similarity

BASE = str(nano_folder() / "base")
MODELS = [str(nano_folder() / name) for name in ("code", "math", "instruct")]
HOSTILE = "[/x] [red]a[/red]"


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    monkeypatch.setattr(show, "OUT", Console(file=written, width=200))
    return written


def test_every_pair_is_printed(out: io.StringIO) -> None:
    assert main(["map", *MODELS, "--base", BASE]) == 0
    said = out.getvalue()
    for heading in ("delta", "cosine", "conflict", "delta norm"):
        assert heading in said
    pairs = [line.split("│")[1:3] for line in said.splitlines() if line.count("│") == 5]
    assert {frozenset(name.strip() for name in pair) for pair in pairs} == {
        frozenset(two) for two in (("code", "math"), ("code", "instruct"), ("math", "instruct"))
    }
    assert "3 models, every pair, nearest first" in said
    assert "changed base most alike: delta cosine 0." in said
    assert "changed base least alike: delta cosine" in said


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", *MODELS, "--base", BASE, "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in page["models"]] == ["code", "math", "instruct"]
    assert len(page["pairs"]) == 3
    assert len(page["pairs"][0]["layers"]["sign_conflict"]) == 4
    assert page["nearest"] in [pair["models"] for pair in page["pairs"]]


def test_a_figure_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "map.png"
    assert main(["map", *MODELS[:2], "--base", BASE, "-o", str(path), "--json"]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    seen = capsys.readouterr()
    assert f"drawn to {path}" in " ".join(seen.err.split())
    json.loads(seen.out)


def test_without_matplotlib_nothing_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("simmerge_hub.signatures.map.similarities.map_models", None)
    assert main(["map", "./no", "./such", "-o", str(tmp_path / "map.png")]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: figures are drawn with matplotlib, which is not installed",
        " hint: pip install 'simmerge-hub[map]'",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([MODELS[0]], "a map takes two models or more, and 1 is given"),
        ([*MODELS, MODELS[0]], "is given twice"),
        ([*MODELS, "-o", "map.gif"], "map.gif is no name for a figure"),
    ],
    ids=["one", "twice", "gif"],
)
def test_what_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", *arguments]) == 1
    seen = capsys.readouterr()
    assert said in seen.err
    assert " hint: " in seen.err
    assert not seen.out


def test_weights_without_a_base(out: io.StringIO) -> None:
    assert main(["map", *MODELS]) == 0
    said = out.getvalue()
    assert "have weights that are most alike: weight cosine 0." in said
    assert "note: weights are compared, not deltas: no card names a base" in said
    assert "delta" not in said.replace("not deltas", "")


def model_map(values: list[float], **more: Any) -> Any:
    """As much of a map of three models as is printed."""
    pairs = [(0, 1), (0, 2), (1, 2)]
    ranked = tuple(Similarity(models=p, value=v) for p, v in zip(pairs, values, strict=False))
    return SimpleNamespace(
        names=(HOSTILE, "b", "c"), base="base", measure="delta_cosine", norms=np.zeros(3),
        pairs={"delta_cosine": np.zeros((3, 3))}, notes=(HOSTILE,),
        left_out=("one", "two", "three", "four"), rank_pairs=lambda measure="": ranked, **more,
    )  # fmt: skip


def test_two_models_in_words() -> None:
    assert list(room.sentences(model_map([0.25]))) == [f"{HOSTILE} and b: delta cosine 0.250"]


def test_no_number_in_words() -> None:
    assert list(room.sentences(model_map([float("nan")]))) == ["no pair has a delta cosine"]


def test_behaviour_in_words() -> None:
    probed = model_map([0.5, 0.25, 0.125])
    probed.pairs["js"] = np.zeros((3, 3))
    assert list(room.sentences(probed))[2:] == [
        "b and c behave most alike: JS 0.1250",
        f"{HOSTILE} and b behave least alike: JS 0.5000",
    ]


def test_names_are_printed_as_they_are(out: io.StringIO) -> None:
    room.page(model_map([0.5, 0.25, 0.125]))
    assert out.getvalue().count(HOSTILE) == 5
    left = (
        "4 matrices that not all models have in one shape: one, two, three and 1 more; not compared"
    )
    assert f"note: {left}" in out.getvalue()
