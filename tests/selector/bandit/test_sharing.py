"""One bandit, many users: on the Hub and in a folder; eight processes lose nothing."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simmerge_hub.errors import BanditError, PushFailed
from simmerge_hub.hub.upload.ledger import Page
from simmerge_hub.localhub import Hub
from simmerge_hub.operators import arm
from simmerge_hub.selector.bandit import representation, sharing
from simmerge_hub.selector.bandit.bandit import Bandit, start
from simmerge_hub.selector.bandit.history import read, report_lines
from simmerge_hub.selector.bandit.sharing import (
    Asked,
    add,
    init,
    look,
    report,
    retrain,
    suggest,
)
from simmerge_hub.selector.tables.rows import Rows, join
from tests.selector.conftest import ARMS, zoo

PROCESSES, EACH, BATCH = 8, 200, 40
REPORTER = """
import sys
from simmerge_hub.selector.bandit.sharing import report
reference, first, last, batch = sys.argv[1], *map(int, sys.argv[2:])
for begin in range(first, last, batch):
    ids = range(begin, min(begin + batch, last))
    report(reference, [(f"s{i:06d}", (i % 100) / 100) for i in ids])
"""


@pytest.fixture(scope="module")
def rows() -> Rows:
    return join(*zoo(models=14), ARMS)


@pytest.fixture(scope="module")
def bandit(rows: Rows) -> Bandit:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(representation, "TREES", 200)
        return start(rows)


@pytest.fixture(params=["folder", "repository"])
def place(request: pytest.FixtureRequest, org: str, tmp_path: Path, bandit: Bandit) -> str:
    where = str(tmp_path / "bandit") if request.param == "folder" else f"{org}/bandit"
    return init(where, bandit)


def ask(rows: Rows, count: int) -> list[Asked]:
    return [
        Asked(
            task="t",
            expert="e",
            auxiliary="a",
            names=rows.names,
            schema=rows.schema,
            values=rows.values[i % len(rows)],
        )
        for i in range(count)
    ]


def test_suggest_report_and_look(place: str, rows: Rows) -> None:
    first, second = suggest(place, ask(rows, 2))
    assert (first.id, second.id) == ("s000001", "s000002")
    report(place, [(second.id, 0.7)])
    found = look(place)
    assert [s.id for s in found.history.pending] == [first.id]
    assert found.history.reports == ((second, 0.7),)
    beliefs = found.bandit.beliefs(found.history, ("e", "a"))
    assert beliefs.means(beliefs.contexts("e", "a")).all()


def test_a_refused_report_changes_nothing(place: str, rows: Rows) -> None:
    (made,) = suggest(place, ask(rows, 1))
    report(place, [(made.id, 0.5)])
    before = Page.read(place)
    for gains in ([(made.id, 0.5)], [("s000099", 0.5)], [(made.id, 9.0)]):
        with pytest.raises(BanditError, match="nothing was reported"):
            report(place, gains)
    after = Page.read(place)
    assert (after.files, after.location) == (before.files, before.location)


def test_tasks_of_one_pair_get_one_arm(place: str, rows: Rows) -> None:
    made = suggest(place, ask(rows, 3), together=True)
    assert len({s.arm for s in made}) == 1
    assert [s.id for s in made] == ["s000001", "s000002", "s000003"]
    bandit = look(place).bandit
    column, none = bandit.labels.index(made[0].arm), np.zeros((3, len(ARMS), 0))
    own = bandit.represent.forecast(rows.values[:3], none, ARMS)[:, column]
    assert [s.forecast for s in made] == pytest.approx(own, abs=1e-6)
    assert [s.expected for s in made] == pytest.approx(own, abs=1e-6)
    assert len(set(own)) == 3


def test_an_arm_is_added_once(place: str, rows: Rows) -> None:
    new = arm("sce", density=0.5)
    add(place, new)
    assert new.label in suggest(place, ask(rows, 1))[0].chance
    with pytest.raises(BanditError, match="one of the arms already"):
        add(place, new)
    with pytest.raises(BanditError, match="treats the two models differently"):
        add(place, arm("linear", weights=(0.7, 0.3)))


def test_an_arm_far_from_anything_measured_is_refused(place: str) -> None:
    for far in (arm("task_arithmetic", scale=20.0), arm("task_arithmetic", weights=(1e30, 1e30))):
        with pytest.raises(BanditError, match="far from anything that was measured"):
            add(place, far)
    assert not look(place).history.added
    many_steps = arm("karcher", steps=50)
    add(place, many_steps)
    assert look(place).history.added == (many_steps,)


def test_others_may_read_what_is_added(rows: Rows, bandit: Bandit, tmp_path: Path) -> None:
    """A segment has the mode of any new file, and nothing else is left in the folder."""
    place = init(str(tmp_path / "bandit"), bandit)
    suggest(place, ask(rows, 1))
    (lines,) = (tmp_path / "bandit" / "events").iterdir()
    (tmp_path / "new").write_text("")
    assert lines.stat().st_mode == (tmp_path / "new").stat().st_mode
    assert not list((tmp_path / "bandit").glob(".*"))


def test_events_that_are_no_text(rows: Rows, bandit: Bandit, tmp_path: Path) -> None:
    place = init(str(tmp_path / "bandit"), bandit)
    suggest(place, ask(rows, 1))
    (lines,) = (tmp_path / "bandit" / "events").iterdir()
    lines.write_bytes(b"\xff\xfe")
    with pytest.raises(BanditError, match="cannot be believed: 'utf-8'"):
        look(place)


def test_retraining_says_if_outcomes_are_left_out(
    rows: Rows, bandit: Bandit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(representation, "TREES", 200)
    place = init(str(tmp_path / "bandit"), bandit)
    made = suggest(place, ask(rows, 50))
    report(place, [(s.id, -0.9) for s in made])
    assert retrain(place) == (50, True)


def test_an_arm_with_its_defaults_spelled_out_is_no_other_arm(place: str) -> None:
    add(place, arm("sce", density=0.1))
    equal = arm("linear", weights=(0.5, 0.5))
    for same in (arm("sce"), arm("linear", normalize=True), equal):
        with pytest.raises(BanditError, match="one of the arms already") as caught:
            add(place, same)
        assert caught.value.hint == f"simmerge-hub bandit status {place} lists them"


def test_retraining_keeps_the_history(
    place: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(representation, "TREES", 200)
    assert retrain(place) == (0, False)
    made = suggest(place, ask(rows, 8))
    report(place, [(s.id, 0.5) for s in made])
    before = look(place)
    assert retrain(place) == (8, False)
    after = look(place)
    assert after.history == before.history
    none = np.zeros((len(rows), len(ARMS), 0))
    one, two = (s.bandit.represent.forecast(rows.values, none, ARMS) for s in (before, after))
    assert not np.array_equal(one, two)


def test_what_is_no_bandit(place: str, bandit: Bandit, tmp_path: Path, rows: Rows) -> None:
    with pytest.raises(PushFailed, match="holds something already"):
        init(place, bandit)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BanditError, match="holds no bandit") as caught:
        look(str(tmp_path / "empty"))
    assert "bandit init" in caught.value.hint
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(BanditError) as caught:  # none can be started where something else is
        look(str(tmp_path / "model"))
    assert caught.value.hint == ("start one: simmerge-hub bandit init NEW OUTCOMES --features FILE")
    (whole,) = ask(rows, 1)
    few = replace(whole, names=rows.names[:3], values=rows.values[0][:3])
    with pytest.raises(BanditError, match="reads 11 features, but is given 3"):
        suggest(place, [few])
    with pytest.raises(BanditError, match="reads features of schema 1, but is given schema 2"):
        suggest(place, [replace(whole, schema=2)])
    others = replace(whole, names=whole.names[::-1])
    with pytest.raises(BanditError, match="reads 11 features, but is given others"):
        suggest(place, [others])
    with pytest.raises(BanditError, match=r"the features of e . a are not 11 numbers"):
        suggest(place, [replace(whole, values=whole.values * np.inf)])
    assert not look(place).history.suggestions


def test_effects_are_checked_where_they_are_read(
    rows: Rows, bandit: Bandit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(representation, "TREES", 20)
    effects = np.random.default_rng(0).uniform(size=(len(rows), len(ARMS), 2))
    reads = start(replace(rows, effect_names=("one", "other"), effects=effects))
    place = init(str(tmp_path / "reads"), reads)
    (one,) = ask(rows, 1)
    with pytest.raises(BanditError, match="reads 2 effects of an arm, but is given 0"):
        suggest(place, [one])
    told = replace(one, effect_names=("one", "other"), effects={ARMS[0].label: np.zeros(3)})
    with pytest.raises(BanditError, match=r"the effects of an arm of e . a are not 2 numbers"):
        suggest(place, [told])
    known = {a.label: np.array([i, np.nan]) for i, a in enumerate(ARMS)}
    (made,) = suggest(place, [replace(told, effects=known)])
    assert made.effects == ([a.label for a in ARMS].index(made.arm), None)
    assert look(place).history.pending == (made,)
    blind = init(str(tmp_path / "blind"), bandit)
    (made,) = suggest(blind, [replace(told, effects=known)])
    assert made.effects == ()


def test_a_bandit_of_an_earlier_version_is_named(
    bandit: Bandit, rows: Rows, tmp_path: Path
) -> None:
    place = init(str(tmp_path / "bandit"), bandit)
    (made,) = suggest(place, ask(rows, 1))
    (lines,) = (tmp_path / "bandit" / "events").iterdir()
    lines.write_text(lines.read_text().replace('"effects": [], ', ""))
    assert look(place).history.pending == (made,)
    written = tmp_path / "bandit" / "bandit.json"
    written.write_text(
        written.read_text().replace('"schema":3,"settings"', '"schema":2,"settings"')
    )
    with pytest.raises(BanditError, match=r"^bandit.json of .* has schema 2; this version reads 3"):
        look(place)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"arm": "linear', '"arm": "other'),
        ('"values": [', '"values": [0, '),
        ('"effects": [', '"effects": [0'),
    ],
)
def test_the_history_of_another_bandit(
    old: str, new: str, bandit: Bandit, rows: Rows, tmp_path: Path
) -> None:
    place = init(str(tmp_path / "bandit"), bandit)
    suggest(place, ask(rows, 30))
    (lines,) = (tmp_path / "bandit" / "events").iterdir()
    text = lines.read_text()
    assert old in text
    lines.write_text(text.replace(old, new))
    with pytest.raises(BanditError, match="is another bandit's: s0000"):
        look(place)


def test_eight_processes_report_to_one_repository(
    hub: Hub, org: str, bandit: Bandit, rows: Rows, tmp_path: Path
) -> None:
    reference = init(f"{org}/bandit", bandit)
    total = PROCESSES * EACH
    suggest(reference, ask(rows, total))
    environment = os.environ | {"PYTHONPATH": str(Path(sharing.__file__).parents[3])}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", REPORTER, reference, str(n * EACH + 1), str((n + 1) * EACH + 1),
             str(BATCH)],
            # caches apart, as on eight machines
            env=environment | {"HF_HUB_CACHE": str(tmp_path / str(n))},
        )
        for n in range(PROCESSES)
    ]  # fmt: skip
    assert [process.wait(300) for process in running] == [0] * PROCESSES
    found = look(reference)
    assert len(found.history.gains) == total
    assert all(gain == (int(i[1:]) % 100) / 100 for i, gain in found.history.gains.items())
    page = Page.read(reference)
    assert len(page.segments) == 1 + total // BATCH
    # The same reports, one after another in the order of ids.
    (suggestions, *_) = page.lines().items()
    ordered = report_lines([(f"s{i:06d}", (i % 100) / 100) for i in range(1, total + 1)])
    alone = bandit.beliefs(read([suggestions, ("reports", ordered)]), ("e", "a")).belief
    shared = found.bandit.beliefs(found.history, ("e", "a")).belief
    assert np.array_equal(shared.mean, alone.mean)
    assert np.array_equal(shared.root, alone.root)
    assert (shared.shape, shared.rate) == (alone.shape, alone.rate)
