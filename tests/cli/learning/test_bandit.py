"""bandit init, suggest, report, add, status: what is printed, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simmerge_hub.cli import show
from simmerge_hub.cli.main import main
from simmerge_hub.hub.client import api
from simmerge_hub.operators import BALANCED
from simmerge_hub.selector.bandit import representation, sharing
from simmerge_hub.selector.tables.features import load_features, save_features
from simmerge_hub.selector.tables.outcomes import save_outcomes
from tests.selector import conftest as made_up

Say = Any


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, str]:
    """Outcomes, their features, and the features of two pairs to ask about."""
    monkeypatch.setattr(representation, "TREES", 200)
    monkeypatch.setattr(made_up, "ARMS", BALANCED[:4])
    monkeypatch.setattr("simmerge_hub.operators.BALANCED", BALANCED[:4])
    outcomes, features = made_up.zoo(models=12)
    effects = {
        key: {a.label: np.array([i / 4, np.nan]) for i, a in enumerate(BALANCED[:4])}
        for key in features.rows
    }
    features = replace(features, effect_names=("one", "other"), effects=effects)
    two = dict(list(features.rows.items())[:2])
    asked = replace(features, rows=two)
    save_outcomes(outcomes, tmp_path / "outcomes.jsonl")
    save_features(features, tmp_path / "features.jsonl")
    save_features(asked, tmp_path / "asked.jsonl")
    return tuple(str(tmp_path / f"{n}.jsonl") for n in ("outcomes", "features", "asked"))  # type: ignore[return-value]


@pytest.fixture
def state(tables: tuple[str, str, str], tmp_path: Path) -> str:
    where = str(tmp_path / "bandit")
    assert main(["bandit", "init", where, tables[0], "--features", tables[1]]) == 0
    return where


def test_a_place_that_is_taken_is_refused_before_anything_is_learned(
    state: str,
    tables: tuple[str, str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "simmerge_hub.selector.bandit.bandit.start", lambda *_: pytest.fail("learned")
    )
    assert main(["bandit", "init", state, tables[0], "--features", tables[1]]) != 0
    assert "holds something already" in capsys.readouterr().err


def test_nothing_is_reported_where_retraining_must_fail(
    state: str, tables: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bandit", "suggest", state, "--features", tables[2]]) == 0
    written = Path(state, "bandit.json")
    sound = written.read_bytes()
    written.write_bytes(sound.replace(b'"schema":3,"settings"', b'"schema":2,"settings"'))
    assert main(["bandit", "report", state, "s000001=0.5", "--retrain"]) != 0
    assert "has schema 2; this version reads 3" in capsys.readouterr().err
    written.write_bytes(sound)
    assert main(["bandit", "report", state, "s000001=0.5", "--retrain"]) == 0


def test_several_tables_are_learned_from_together(
    tables: tuple[str, str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    more = []
    for path in map(Path, tables[:2]):
        header, *lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines = [line | {"expert": f"more-{line['expert']}"} for line in lines]
        more.append(tmp_path / f"more-{path.name}")
        more[-1].write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)))
    where, both = str(tmp_path / "both"), [tables[0], str(more[0])]
    given = ["bandit", "init", where, *both, "--features", tables[1]]
    assert main(given) != 0 and not Path(where).exists()
    assert "2 of OUTCOMES and 1 of --features" in capsys.readouterr().err
    swapped = [*given[:5], "--features", str(more[1]), "--features", tables[1]]
    assert main(swapped) != 0 and not Path(where).exists()
    assert f"{tables[0]} with {more[1]}: " in "".join(capsys.readouterr().err.splitlines())
    assert main([*given, "--features", str(more[1]), "--json"]) == 0
    learned = json.loads(capsys.readouterr().out)["rows"]
    assert main(["bandit", "init", str(tmp_path / "one"), *both[:1], *given[5:], "--json"]) == 0
    assert learned == 2 * json.loads(capsys.readouterr().out)["rows"]


def test_the_whole_round(
    state: str, tables: tuple[str, str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    capsys.readouterr()
    assert main(["bandit", "suggest", state, "--features", tables[2], "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [s["id"] for s in made] == ["s000001", "s000002"]
    assert sum(made[0]["chance"].values()) == pytest.approx(1, abs=0.01)
    kept = sharing.look(state).history.suggestions["s000001"]
    assert kept.effects == ([a.label for a in BALANCED].index(made[0]["arm"]) / 4, None)
    lines = tmp_path / "gains.txt"
    lines.write_text("\ns000002=0.5\n\n")
    assert main(["bandit", "report", state, "s000001=0.8", "--from", str(lines)]) == 0
    assert "2 reported to" in capsys.readouterr().err
    assert main(["bandit", "report", state, "--retrain"]) == 0
    assert "retrained on 2 reports" in capsys.readouterr().err
    assert main(["bandit", "suggest", state, "--features", tables[2]]) == 0
    assert "chance" in capsys.readouterr().out
    assert main(["bandit", "status", state, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["waiting"] == list(status["asked"]) == ["s000003", "s000004"]
    assert sum(row["reported"] for row in status["arms"].values()) == 2
    assert main(["bandit", "status", state]) == 0
    said = capsys.readouterr()
    assert "wait for a report: s000003, s000004" in said.err
    assert " ".join(said.err.split()).count(", on ") == 2
    assert made[0]["arm"] in said.out


def test_a_folder_named_like_a_repository_is_one_for_every_verb(
    org: str,
    tables: tuple[str, str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = f"{org}/bandit"
    (tmp_path / where).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert main(["bandit", "init", where, tables[0], "--features", tables[1]]) == 0
    assert not api().repo_exists(where) and (tmp_path / where / "bandit.json").is_file()
    assert main(["bandit", "suggest", where, "--features", tables[2]]) == 0
    assert main(["bandit", "report", where, "s000001=0.5"]) == 0
    capsys.readouterr()
    assert main(["bandit", "status", where, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert sum(row["reported"] for row in status["arms"].values()) == 1
    assert main(["bandit", "init", where, tables[0], "--features", tables[1]]) != 0
    assert "holds something already" in capsys.readouterr().err


def test_a_repository(
    org: str, tables: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    where = f"{org}/bandit"
    init = ["bandit", "init", where, tables[0], "--features", tables[1], "--explore", "1", "--json"]
    assert main(init) == 0
    assert json.loads(capsys.readouterr().out)["state"] == where
    assert main(["bandit", "suggest", where, "--features", tables[2]]) == 0
    assert main(["bandit", "report", where, "s000001=1", "--json"]) == 0
    assert main(["bandit", "add", where, "ties", "--set", "density=0.3"]) == 0
    assert f"ties(density=0.3) added to {where}" in capsys.readouterr().err


def test_an_arm_is_added_and_suggested(
    state: str, tables: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["bandit", "add", state, "ties", "--set", "density=0.3"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert f"ties(density=0.3) added to {state}" in said.err
    assert f"next: simmerge-hub plan MODEL MODEL --bandit {state}" in said.err
    more = ["--set", "density=0.1/0.1", "--set", "normalize=False", "--set", "trim=model"]
    assert main(["bandit", "add", state, "ties", *more, "--json"]) == 0
    label = "ties(density=0.1/0.1, normalize=False, trim=model)"
    assert json.loads(capsys.readouterr().out) == {"state": state, "added": label}
    assert main(["bandit", "suggest", state, "--features", tables[2], "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert {"ties(density=0.3)", label} <= set(made[0]["chance"])
    assert main(["bandit", "status", state, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["arms"]
    assert {name for name, row in told.items() if row["added"]} == {"ties(density=0.3)", label}
    assert main(["bandit", "status", state]) == 0
    assert "ties(density=0.3), added" in capsys.readouterr().out


def test_an_arm_is_told_how_to_be_written(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["bandit", "add", state, "ties(density=0.3, normalize=False)"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"hint: simmerge-hub bandit add {state} ties --set density=0.3" in said
    assert said.endswith("--set density=0.3 --set normalize=False")


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (["tise"], "error: there is no operator 'tise'\n hint: did you mean ties?"),
        (["ties", "--set", "densty=1"], "error: ties has no parameter 'densty'\n hint: it takes:"),
        (["ties", "--set", "density=much"], "error: ties: density is 'much'\n hint: give a finite"),
        (["passthrough"], "error: passthrough merges exactly 1 model"),
        (["slerp", "--set", "t=0.3"], "error: slerp(t=0.3) treats the two models differently"),
        (["linear", "--set", "weights=0.7/0.3"], "treats the two models differently\n hint: "),
        (["slerp"], "error: slerp is one of the arms already\n hint: simmerge-hub bandit status"),
        (
            ["slerp", "--set", "t=0.5"],
            "error: slerp(t=0.5) is the same as slerp: slerp is one of the arms",
        ),
        (
            ["ties(density=0.3, normalize=False)"],
            "'ties(density=0.3, normalize=False)' is an arm, and an operator is asked for",
        ),
    ],
)
def test_an_arm_that_is_refused_changes_nothing(
    asked: list[str], complaint: str, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path(state).rglob("*"))
    assert main(["bandit", "add", state, *asked]) == 1
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.out == ""
    assert sorted(Path(state).rglob("*")) == before


def test_a_parameter_is_name_and_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bandit", "add", "org/bandit", "ties", "--set", "density"])
    assert "'density' is not NAME=VALUE" in capsys.readouterr().err


def test_what_is_refused(state: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["bandit", "report", state, "s000007=0.5"]) == 1
    said = capsys.readouterr().err
    assert "nothing was suggested as 's000007'; nothing was reported" in said
    assert "hint: simmerge-hub bandit status" in said
    assert main(["bandit", "report", state]) == 1
    assert "nothing to report" in capsys.readouterr().err
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("s000001: 0.5\n")
    assert main(["bandit", "report", state, "--from", str(wrong)]) == 1
    assert "is not ID=GAIN" in capsys.readouterr().err


def test_names_are_whole_where_a_table_has_no_room(
    state: str,
    tables: tuple[str, str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`nano/cod`, `e +`, `nano/mat`, `h` stood in rows of one cell."""
    table = load_features(Path(tables[2]))
    (_, second, task), *_ = table.rows
    key = ("organisation/a-model-with-a-long-name", second, task)
    save_features(
        replace(
            table,
            rows={key: next(iter(table.rows.values()))},
            effects={key: next(iter(table.effects.values()))},
        ),
        Path(tables[2]),
    )
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(show, "OUT", show.LazyConsole(stderr=False))
    capsys.readouterr()
    assert main(["bandit", "suggest", state, "--features", tables[2]]) == 0
    said = capsys.readouterr().out
    assert f"of {key[0]} + {second}, on {task}" in said
    assert "s000001: " in said


def test_settings_that_make_no_sense_are_said_in_words(
    tables: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(tmp_path / "new")
    assert main(["bandit", "init", where, tables[0], "--features", tables[1], "--keep", "99"]) == 1
    assert "with explore 0.05, trust 1, keep 99 and seed 0" in capsys.readouterr().err
