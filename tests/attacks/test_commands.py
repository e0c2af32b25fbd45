"""Odd input from a command line to a clear error: no traceback, nothing half-written, in a moment.

Attack or accident: a recipe whose work doubles with every step, a parameter without bound, a
folder where a file should be, a user or a port there is not.
"""

import time
from pathlib import Path

import pytest

from simmerge_hub import merger
from simmerge_hub.cli.main import main
from simmerge_hub.errors import OperatorError, OutputError, RecipeError, RepoNotFound
from simmerge_hub.hub.assets import replace_file
from simmerge_hub.recipe import load
from tests import nano

HEAD = "simmerge: 1\nmodels: "
STEPS = "\nsteps: [{operator: passthrough, models: [org/x]}]\n"


def chain(folder: Path, steps: int, operator: str = "linear", again: str = "s{0}, s{0}") -> Path:
    """A recipe whose steps each use the former twice."""
    lines = [
        "- {operator: linear, models: [a, b], name: s0}",
        *(
            f"- {{operator: {operator}, models: [{again.format(i)}], name: s{i + 1}}}"
            for i in range(steps - 2)
        ),
        f"- {{operator: linear, models: [s{steps - 2}, a]}}",
    ]
    path = folder / "m.yaml"
    path.write_text(
        "simmerge: 1\nmodels: [{folder: a}, {folder: b}]\nsteps:\n" + "\n".join(lines) + "\n"
    )
    return path


def models(folder: Path) -> None:
    for seed, name in enumerate("ab"):
        found = nano.weights(seed)
        kept = {n: found[n] for n in ("model.embed_tokens.weight", "lm_head.weight")}
        nano.save(folder / name, {**kept, "w.weight": found["model.norm.weight"]})


def test_steps_that_each_use_the_former_twice_are_linear_work(tmp_path: Path) -> None:
    """40 of them would be a million million readings of the first."""
    models(tmp_path)
    began = time.perf_counter()
    merger.merge(load(chain(tmp_path, 40))[0], tmp_path / "out")
    assert time.perf_counter() - began < 60
    short = load(chain(tmp_path, 3))[0]
    merger.merge(short, tmp_path / "short")
    once = (tmp_path / "short" / "model.safetensors").read_bytes()[-64:]
    assert (tmp_path / "out" / "model.safetensors").read_bytes()[-64:] == once


def test_too_many_steps(tmp_path: Path) -> None:
    models(tmp_path)
    with pytest.raises(RecipeError, match="2,000 steps, more than 100"):
        load(chain(tmp_path, 2000))


def test_a_hundred_steps_are_merged(tmp_path: Path) -> None:
    models(tmp_path)
    merger.merge(load(chain(tmp_path, 100, again="s{0}, a"))[0], tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize("steps", ["1000000000", "1e300", "-1", ".nan", ".inf"])
def test_a_mean_that_is_moved_for_ever(tmp_path: Path, steps: str) -> None:
    models(tmp_path)
    path = tmp_path / "m.yaml"
    path.write_text(
        "simmerge: 1\nmodels: [{folder: a}, {folder: b}]\nsteps: [{operator: karcher, "
        f"models: [a, b], parameters: {{steps: {steps}, tolerance: 0}}}}]\n"
    )
    with pytest.raises(OperatorError, match="steps is"):
        load(path)


@pytest.mark.parametrize("argument", ["~nosuchuser/x", "~nosuchuser"])
def test_the_home_of_a_user_there_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argument: str
) -> None:
    model = str(nano.model(tmp_path / "model"))
    recipe = tmp_path / "m.yaml"
    recipe.write_text(
        f"simmerge: 1\nmodels: [{{folder: {model}, name: a}}]\n"
        "steps: [{operator: passthrough, models: [a]}]\n"
    )
    for command in (
        ["merge", argument, "-o", str(tmp_path / "out")],
        ["merge", str(recipe), "-o", argument],
        ["check", argument],
        ["plan", argument, model],
        ["sign", argument],
        ["localhub", "--dir", argument],
    ):
        assert main(command) == 1, command
    said = capsys.readouterr().err
    assert "Traceback" not in said and said.count("error: ") == 6
    recipe.write_text(recipe.read_text().replace(model, argument))
    with pytest.raises(RepoNotFound):
        merger.merge(load(recipe)[0], tmp_path / "out")


@pytest.mark.parametrize("command", ["sign", "plan"])
def test_a_folder_where_a_file_should_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    given = [str(tmp_path)] * (2 if command == "plan" else 1)
    for output in (".", str(tmp_path), "/"):
        assert main([command, *given, "-o", output]) == 1
        assert "is a folder, not a file" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["99999", "-1", "99999999999999999999"])
def test_ports_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], port: str) -> None:
    assert main(["localhub", "--dir", str(tmp_path), f"--port={port}"]) == 1
    assert "ports are numbers from 0 to 65535" in capsys.readouterr().err


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.yaml"
    replace_file(path, b"before")

    def full(self: Path, data: bytes) -> int:
        with open(self, "wb") as handle:
            handle.write(data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        replace_file(path, b"after")
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.yaml"]


@pytest.mark.parametrize(
    "recipe",
    [
        "simmerge: !!int ''", 'simmerge: "\\UFFFFFFFF"', "simmerge: 1\nsimmerge: 1", "[" * 5000,
        "\x00", f"{HEAD}[org/x@/etc/passwd]{STEPS}",
        f"{HEAD}[{{model: org/x, commit: ../x}}]{STEPS}",
        "merge_method: linear\nmodels: [{model: org/x@/etc/x, parameters: {weight: 1}}]",
        "merge_method: linear\nmerge_method: ties\n",
    ],
    ids=range(9),
)  # fmt: skip
@pytest.mark.parametrize("command", ["merge", "check"])
def test_hostile_recipes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: str, command: str
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(recipe)
    more = ["-o", str(tmp_path / "out")] if command == "merge" else []
    assert main([command, str(path), *more]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.yaml"]


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    models(tmp_path)
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError):
        merger.merge(load(chain(tmp_path, 3))[0], tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
