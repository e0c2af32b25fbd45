"""A plan of three nano models, merged and put on a card; what such a plan refuses."""

import re
from pathlib import Path

import pytest

import simmerge_hub
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import ObjectiveError
from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.ask.options import Sources, Tasks
from simmerge_hub.planning.plan import Plan, plan
from simmerge_hub.planning.trees.judge import first_models
from simmerge_hub.publishing.figures.merge_tree import draw_tree
from simmerge_hub.publishing.figures.paint import write
from simmerge_hub.recipe import parse
from tests.planning.trees.test_search import Known, ranked_by

NAMES = ("code", "math", "multilingual")
MODELS = [str(nano_folder() / name) for name in NAMES]
BASE = str(nano_folder() / "base")
TASKS = Tasks(experts=dict(zip(NAMES, NAMES, strict=True)))
STRUCTURAL = Sources(signals="structural")


@pytest.fixture(scope="module")
def made() -> Plan:
    return plan(*MODELS, base=BASE, tasks=TASKS)


def test_it_is_a_recipe_with_reasons(made: Plan) -> None:
    recipe, why = parse(made.to_yaml(), "the plan")
    assert recipe == made.recipe
    assert why is not None
    assert why.choice == made.best.label == made.best.tree.label
    assert list(why.tree) == made.tree
    assert [step.step for step in why.steps] == [step.name for step in recipe.steps]
    assert made.verdict.status == "calibrated"
    assert {m.name for m in recipe.models} == set(made.best.tree.models)


def test_every_prediction_lies_in_its_interval(made: Plan) -> None:
    for choice in made.choices:
        for middle, low, high in choice.spreads().values():
            assert 0 <= low <= middle <= high <= 1.5


def test_a_model_without_a_task_is_idle_in_every_merge_with_it() -> None:
    two = Tasks(experts={name: name for name in NAMES[:2]})
    choices = plan(*MODELS, base=BASE, tasks=two, sources=STRUCTURAL).choices
    for choice in choices:
        assert choice.idle == {"multilingual"}.intersection(choice.tree.models)
    assert any(choice.idle for choice in choices)


def test_the_same_models_in_another_order_give_the_same_tree(made: Plan) -> None:
    again = plan(*reversed(MODELS), base=BASE, tasks=TASKS)
    assert again.best.tree.label == made.best.tree.label


def test_it_merges_in_one_go_and_the_card_shows_the_tree(made: Plan, tmp_path: Path) -> None:
    simmerge_hub.merge(made, tmp_path / "merged")
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "## Merge tree" in card
    assert all(line in card for line in made.tree)
    assert re.search(r"^!\[Merge tree: .+\]\(merge-tree.svg\)$", card, re.MULTILINE)
    assert (tmp_path / "merged" / "merge-tree.svg").read_text().startswith("<svg")
    weights = [p.name for p in (tmp_path / "merged").glob("*.safetensors")]
    assert weights == ["model.safetensors"]


def test_the_same_plan_is_drawn_with_the_same_bytes(made: Plan, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.svg", "b.svg", "a.png", "b.png")]
    for file in files:
        write(draw_tree(made.recipe, made.why()), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[2].read_bytes() == files[3].read_bytes()


def test_two_models_have_no_tree() -> None:
    """The same call: which models and in which order is not asked, so the arms are the choices."""
    two = Tasks(experts={name: name for name in NAMES[:2]})
    pair = plan(*MODELS[:2], base=BASE, tasks=two, sources=STRUCTURAL)
    assert not pair.of_many
    assert [choice.label for choice in pair.choices] == [
        choice.tree.arm.label for choice in pair.choices if choice.tree.arm
    ]
    assert not pair.why().tree


def test_models_of_the_best_pairs_go_on() -> None:
    pairs = ranked_by(Known("abcd", bad="a"), most=2)
    assert set(first_models(pairs, 3)) == {"b", "c", "d"}
    assert len(first_models(pairs, 9)) == 4


def test_what_no_merge_keeps_is_said() -> None:
    wanted = Objective(keep=dict.fromkeys(NAMES, 1.0))
    with pytest.raises(ObjectiveError, match="no merge is predicted to keep"):
        plan(*MODELS, base=BASE, tasks=TASKS, objective=wanted, sources=STRUCTURAL)


def test_what_is_expected_of_merges_of_two_and_three_has_the_tasks_in_one_order(
    made: Plan,
) -> None:
    order = [task.name for task in made.tasks]
    assert {len(c.tree.models) for c in made.choices} == {2, 3}
    assert all(list(c.beliefs) == order for c in made.choices)
