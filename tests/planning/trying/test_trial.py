"""Trying the most promising merges: what is run, what comes first then, what is left behind."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import ObjectiveError, OutputError, ProbeError
from simmerge_hub.merger import merge, report
from simmerge_hub.merger.report import identify
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.ask.options import Search, Sources, Tasks
from simmerge_hub.planning.choice import CAUTION, Order
from simmerge_hub.planning.plan import Plan, plan
from simmerge_hub.planning.tree import Tree
from simmerge_hub.planning.trying import trial
from simmerge_hub.planning.trying.trial import Workshop
from simmerge_hub.recipe import parse
from simmerge_hub.selector.predictor.origin import find
from simmerge_hub.weights.writing import spare

NAMES = ("code", "math", "multilingual")
MODELS = [str(nano_folder() / name) for name in NAMES]
BASE = str(nano_folder() / "base")
PROBES = {name: str(nano_folder() / "probes" / f"{name}.jsonl") for name in NAMES}
TWO = Tasks(experts={"code": "code", "math": "math"}, probes=PROBES)
THREE = Tasks(experts=dict(zip(NAMES, NAMES, strict=True)), probes=PROBES)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Plan]:
    """Plans of two models with one merge tried, whose temporary folders are looked at."""
    folder = tmp_path_factory.mktemp("trials")

    def make(**how: Any) -> Plan:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(folder))
            made = plan(*MODELS[:2], base=BASE, tasks=TWO, tries=1, **how)
        assert not list(folder.glob("simmerge-*"))
        return made

    return make


def test_of_two_models_the_first_and_the_safe_arm_are_made_and_come_first(
    pair: Callable[..., Plan],
) -> None:
    notes: list[str] = []
    blind = plan(*MODELS[:2], base=BASE, tasks=TWO)
    made = pair(note=notes.append)
    trust = blind.verdict.trust
    assert trust is not None
    assert set(made.tried) == {blind.best.label, trust.safe}
    count = len(made.tried)
    assert {choice.label for choice in made.choices[:count]} == set(made.tried)
    order = Order(objective=MEAN, caution=0.0)
    assert list(made.choices[:count]) == order.sort(made.choices[:count])
    assert made.verdict.status == "tried"
    assert "of the experts' own answers it keeps" in made.explain()
    before = {choice.label: choice.spreads() for choice in blind.choices}
    for label, seen in made.tried.items():
        assert seen.predicted == before[label]
        assert set(seen.kept) == {"code", "math"}
    said = [note for note in notes if note.startswith("trying ")]
    assert len(said) <= 1  # none if an earlier test tried them


def test_a_second_plan_tries_nothing_and_says_the_same(
    pair: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pair()
    monkeypatch.setattr(Workshop, "make", None)
    assert pair().to_yaml() == first.to_yaml()


def test_the_merge_that_was_made_last_is_taken_over_if_it_is_the_chosen_one(
    pair: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workshop, "find", lambda *_: None)
    made = pair()
    spare.drop(but=identify(made.recipe, made.recipe.fingerprint))
    over = merge(made.recipe, tmp_path / "over", durable=False)
    anew = merge(made.recipe, tmp_path / "anew", durable=False)
    assert (over.taken_over, anew.taken_over) == (over.tensors, 0)
    assert over.notes == anew.notes
    files = [{p.name: p.read_bytes() for p in each.folder.iterdir()} for each in (over, anew)]
    assert files[0] == files[1]


def test_a_merge_that_is_not_chosen_is_not_kept(
    pair: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair()  # tried now, if not before
    dropped: list[str] = []
    monkeypatch.setattr(spare, "drop", lambda *, but="": dropped.append(but))
    made = pair()
    assert dropped == [identify(made.recipe, made.recipe.fingerprint)]


def test_what_other_code_made_is_tried_again(
    pair: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair()  # tried now, if not before
    made: list[str] = []

    def refuse(_: Workshop, tree: Tree, *, keep: bool) -> None:
        made.append(tree.label)
        raise OutputError("tried again")

    monkeypatch.setattr(Workshop, "make", refuse)
    pair()
    monkeypatch.setattr(report, "digest_code", lambda *_: "another commit")
    with pytest.raises(OutputError, match="tried again"):
        pair()
    assert len(made) == 1


def test_what_is_tried_now_is_called_as_the_decision_calls_it(
    pair: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    names = {each.method for each in (pair().decision, *pair().decision.others)}

    def refuse(*_: Any, **__: Any) -> None:
        raise OutputError("tried again")

    monkeypatch.setattr(Workshop, "find", lambda *_: None)
    monkeypatch.setattr(Workshop, "make", refuse)
    with pytest.raises(OutputError, match="tried again"):
        pair(progress=said.append)
    (now,) = [text for text in said if text.startswith("trying 1 of ")]
    assert now.partition(": ")[2].partition(", about")[0] in names


def test_what_was_seen_is_written_into_the_plan_and_read_again(pair: Callable[..., Plan]) -> None:
    made = pair()
    recipe, why = parse(made.to_yaml(), "the plan")
    assert recipe == made.recipe
    assert why is not None
    assert why.status == "tried"
    assert set(why.tried) == set(made.tried)
    for each in why.predictions:
        assert bool(each.kept) == (each.merge in made.tried) == bool(each.predicted)
    best = why.predictions[0]
    assert set(best.kept["code"]) == {"answers", "tokens", "regained"}


def test_objectives_work_on_what_was_seen(pair: Callable[..., Plan]) -> None:
    reached = {task: spread[0] for task, spread in pair().best.spreads().items()}
    kept = pair(objective=Objective(keep={"code": reached["code"] - 0.01}))
    assert not kept.verdict.missing(kept.best)
    with pytest.raises(ObjectiveError, match="keep 1 on code"):
        pair(objective=Objective(keep={"code": 1.0}))


def test_no_room_is_said_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, pair: Callable[..., Plan]
) -> None:
    monkeypatch.setattr(Workshop, "find", lambda *_: None)
    monkeypatch.setattr(trial, "TRIAL_RESERVE", 2**60)
    with pytest.raises(OutputError, match="a merge that is tried takes"):
        pair()


def test_of_three_models_the_most_promising_trees_are_made_and_decided_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    how: Any = {"base": BASE, "tasks": THREE, "search": Search(least=3)}
    blind = plan(*MODELS, **how)
    made = plan(*MODELS, **how, tries=2)
    first = [choice.label for choice in blind.choices[:2]]
    assert set(first) <= set(made.tried)
    assert len(made.tried) <= 3  # and the safe one
    before = {c.label: c.beliefs for c in blind.choices}
    count = len(made.tried)
    order = Order(objective=MEAN, caution=CAUTION)
    assert list(made.choices[:count]) == order.sort(made.choices[:count])
    assert all(before.get(c.label) != c.beliefs for c in made.choices[:count])
    rest = [c.label for c in blind.choices if c.label not in made.tried]
    assert [c.label for c in made.choices[count:]] == rest
    assert made.verdict.status == "tried"
    assert made.verdict.parts[made.best.label] == made.best
    assert not list(tmp_path.glob("simmerge-*"))


def test_without_probes_there_is_nothing_to_try_them_on() -> None:
    with pytest.raises(ProbeError, match="merges are tried on the tasks' probes"):
        plan(*MODELS, base=BASE, tasks=THREE, sources=Sources(signals="structural"), tries=1)


def test_the_packaged_predictor_knows_merges_of_four_and_those_run_better() -> None:
    known = find().predictor.many
    assert known is not None
    assert known.models == 4
    assert 0 < known.run < known.unrun < 1
