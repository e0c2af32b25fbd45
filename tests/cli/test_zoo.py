"""zoo build, measure, features, publish: what is written, what is left, what is said."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi

from simmerge_hub.cli import zoo as room
from simmerge_hub.cli.main import main
from simmerge_hub.operators import ARMS
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import Outcomes, load_outcomes
from simmerge_hub.zoo.manifest import load_manifest

TINY = Path(__file__).parents[1] / "zoo" / "tiny.yaml"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of two full models that learned next to nothing."""
    folder = tmp_path_factory.mktemp("cli")
    recipe = folder / "zoo.yaml"
    lines = TINY.read_text().splitlines(keepends=True)
    recipe.write_text("".join(line for line in lines if "math-lora" not in line))
    assert main(["zoo", "build", str(recipe), "-o", str(folder / "zoo")]) == 0
    return folder / "zoo"


def test_every_model_is_said_once(built: Path, capsys: Captured) -> None:
    recipe = str(built.with_name("zoo.yaml"))
    assert main(["zoo", "build", recipe, "-o", str(built)]) == 0
    seen = capsys.readouterr()
    assert "/3 " not in seen.err  # what is there already is not made again
    assert "Exact match, tiny" in seen.out
    assert list(load_manifest(built).models) == ["base", "code", "math"]
    (built / "code" / "model.safetensors").write_bytes(b"torn")
    assert main(["zoo", "build", recipe, "-o", str(built)]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if "/3 " in line] == [
        "2/3 code: finished"
    ]


def test_outcomes_then_features(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(room, "STRIDE", 1)
    outcomes, features = tmp_path / "outcomes.jsonl", tmp_path / "features.jsonl"
    assert main(["zoo", "measure", str(built), "-o", str(outcomes)]) == 0
    seen = capsys.readouterr()
    assert "1/1 pairs" in seen.err
    assert "Is there anything to select?" in seen.out
    assert {path.name for path in tmp_path.iterdir()} == {outcomes.name, f"{outcomes.name}.partial"}
    assert main(["zoo", "measure", str(built), "-o", str(outcomes)]) == 0
    assert "1/1 pairs" not in capsys.readouterr().err  # nothing is left to measure
    rows = load_outcomes(outcomes).rows
    assert {(row.expert, row.auxiliary) for row in rows} == {("code", "math"), ("math", "code")}
    assert main(["zoo", "features", str(built), str(outcomes), "-o", str(features)]) == 0
    table = load_features(features)
    assert table.rows.keys() == {row.key for row in rows}
    said = capsys.readouterr().err.replace("\n", "")
    assert f"2 pairs x {len(table.names)} features -> {features}" in said


@pytest.mark.parametrize("so_far", [True, False])
def test_a_measurement_keeps_its_journal_so_that_a_zoo_may_grow(
    so_far: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(folder: Path, *, resume: Path, measure: bool, **how: object) -> Outcomes:
        assert measure != so_far
        resume.touch()
        return Outcomes(arms=ARMS, rows=(), provenance={"gates": {}})

    monkeypatch.setattr("simmerge_hub.zoo.measuring.outcomes.measure_outcomes", measure)
    options = ["--so-far"] if so_far else []
    assert main(["zoo", "measure", "zoo", "-o", str(tmp_path / "o.jsonl"), *options]) == 0
    assert (tmp_path / "o.jsonl").exists()
    assert (tmp_path / "o.jsonl.partial").exists()


def test_publish_says_each_repository(built: Path, org: str, capsys: Captured) -> None:
    assert main(["zoo", "publish", org, "--dir", str(built)]) == 0
    said = dict(line.split() for line in capsys.readouterr().err.splitlines())
    assert said.keys() == {
        f"{org}/{name}" for name in ("base", "code", "math", "probes-code", "probes-math")
    }
    assert HfApi().model_info(f"{org}/code").sha[:12] == said[f"{org}/code"]  # type: ignore[index]


def test_the_packaged_zoo_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[Path] = []

    def send(place: Path, namespace: str, **how: object) -> list:
        places.append(place)
        return []

    monkeypatch.setattr("simmerge_hub.zoo.publish.publish", send)
    assert main(["zoo", "publish", "nano"]) == 0
    assert main(["zoo", "publish", "nano", "--dir", "here"]) == 0
    assert places == [room.nano_folder(), Path("here")]
    assert "code" in load_manifest(room.nano_folder()).specialists
