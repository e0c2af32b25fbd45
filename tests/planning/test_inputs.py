"""Models that make no merge, and how they are told apart."""

import shutil
from pathlib import Path

import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import AlignmentError, ProbeError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.planning.ask.options import Tasks
from simmerge_hub.planning.ask.tasks import tasks_of
from simmerge_hub.planning.inputs import pin
from tests import rankings

CODE, MATH, BASE = (str(nano_folder() / name) for name in ("code", "math", "base"))
EXPERTS = {"code": "code", "math": "math"}


@pytest.mark.parametrize(
    ("models", "base", "message"),
    [
        ((CODE, CODE), None, "given twice: there is nothing to merge"),
        ((CODE, MATH, CODE), BASE, "given twice: there is nothing to merge"),
        ((BASE, CODE), BASE, "the base of the other: there is nothing to merge"),
    ],
)
def test_models_that_make_no_pair(models: tuple[str, ...], base: str | None, message: str) -> None:
    with pytest.raises(AlignmentError, match=message):
        pin(models, base, Tasks(experts=EXPERTS))


def test_two_folders_of_one_name_are_told_apart_in_words(tmp_path: Path) -> None:
    other = tmp_path / "code"
    shutil.copytree(MATH, other)
    with pytest.raises(AlignmentError, match="are both called code"):
        pin([CODE, str(other)], BASE, Tasks(experts=EXPERTS))


def test_an_expert_may_be_named_as_it_was_given(tmp_path: Path) -> None:
    models = [resolve(CODE), resolve(MATH)]
    tasks, _ = tasks_of(models, Tasks(experts={"code": CODE, "math": "math"}))
    assert {t.name: t.expert for t in tasks} == EXPERTS
    with pytest.raises(ProbeError, match="not among the models"):
        tasks_of(models, Tasks(experts={"code": str(tmp_path)}))


def test_what_is_pinned_has_its_base_its_tasks_and_its_size() -> None:
    inputs = pin([CODE, MATH], BASE, Tasks(experts=EXPERTS))
    assert inputs.names == ["code", "math"]
    assert inputs.base is not None
    assert inputs.parameters == sum(h.entries for h in inputs.base.tensors.values()) > 0
    assert [task.expert for task in inputs.tasks] == ["code", "math"]


def test_what_models_reach_without_any_merge_is_relative_to_the_expert() -> None:
    scores = {"a": {"first": 0.8, "second": 0.2}}
    inputs = rankings.inputs({"a": "first", "b": "second"}, scores)
    assert inputs.known == {"a": {"first": 1.0, "second": 0.25}, "b": {"second": 1.0}}
