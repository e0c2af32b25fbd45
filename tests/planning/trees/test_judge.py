"""A plan of three nano models, merged and put on a card; what such a plan refuses."""

from pathlib import Path

import pytest
from simmerge_hub.planning.many import ManyPlan, plan_many
from simmerge_hub.planning.objective import Objective

import simmerge_hub
from simmerge_hub.cli.zoo import packaged
from simmerge_hub.errors import AlignmentError, ObjectiveError
from simmerge_hub.publishing import merge_tree
from simmerge_hub.recipe import parse

NAMES = ("code", "math", "multilingual")
MODELS = [str(packaged() / name) for name in NAMES]
BASE = str(packaged() / "base")
EXPERTS = dict(zip(NAMES, NAMES, strict=True))


@pytest.fixture(scope="module")
def made() -> ManyPlan:
    return plan_many(*MODELS, base=BASE, experts=EXPERTS)


def test_it_is_a_recipe_with_reasons(made: ManyPlan) -> None:
    recipe, why = parse(made.to_yaml(), "the plan")
    assert recipe == made.recipe
    assert why["choice"] == made.best.tree.label
    assert why["tree"] == made.tree
    assert [step["step"] for step in why["steps"]] == [step.name for step in recipe.steps]
    assert made.status == "calibrated"
    assert {m.name for m in recipe.models} == set(made.best.tree.models)


def test_every_prediction_lies_in_its_interval(made: ManyPlan) -> None:
    for candidate in made.candidates:
        for middle, low, high in candidate.spreads().values():
            assert 0 <= low <= middle <= high <= 1.5


def test_a_model_without_a_task_is_idle_in_every_merge_with_it() -> None:
    experts = {name: name for name in NAMES[:2]}
    found = plan_many(*MODELS, base=BASE, experts=experts, signals="structural")
    for c in found.candidates:
        assert c.idle == {"multilingual"}.intersection(c.tree.models)
    assert any(c.idle for c in found.candidates)


def test_the_same_models_in_another_order_give_the_same_tree(made: ManyPlan) -> None:
    again = plan_many(*reversed(MODELS), base=BASE, experts=EXPERTS)
    assert again.best.tree.label == made.best.tree.label


def test_it_merges_in_one_go_and_the_card_shows_the_tree(made: ManyPlan, tmp_path: Path) -> None:
    simmerge_hub.merge(made, tmp_path / "merged")
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "## Merge tree" in card
    assert all(line in card for line in made.tree)
    assert "![The merge tree](plan.svg)" in card
    assert (tmp_path / "merged" / "plan.svg").read_text().startswith("<?xml")
    weights = [p.name for p in (tmp_path / "merged").glob("*.safetensors")]
    assert weights == ["model.safetensors"]


def test_the_same_plan_is_drawn_with_the_same_bytes(made: ManyPlan, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.svg", "b.svg")]
    for file in files:
        merge_tree.draw(made.recipe, made.why(), file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_two_models_are_no_plan_of_many() -> None:
    with pytest.raises(AlignmentError, match="three models or more, and 2 are given"):
        plan_many(*MODELS[:2], base=BASE)


@pytest.mark.parametrize(("least", "most"), [(1, None), (4, None), (3, 2)])
def test_numbers_that_make_no_subset(least: int, most: int | None) -> None:
    with pytest.raises(AlignmentError, match="a merge shall have"):
        plan_many(*MODELS, base=BASE, least=least, most=most)


def test_what_no_merge_keeps_is_said() -> None:
    wanted = Objective(keep=dict.fromkeys(NAMES, 1.0))
    with pytest.raises(ObjectiveError, match="no merge is predicted to keep"):
        plan_many(*MODELS, base=BASE, experts=EXPERTS, objective=wanted, signals="structural")


def test_what_is_expected_of_merges_of_two_and_three_has_the_tasks_in_one_order(
    made: ManyPlan,
) -> None:
    order = [task.name for task in made.tasks]
    assert {len(c.tree.models) for c in made.candidates} == {2, 3}
    assert all(list(c.beliefs) == order for c in made.candidates)
