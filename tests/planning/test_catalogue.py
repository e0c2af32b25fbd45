"""A plan from a catalogue: a shortlist that is signed and searched, and a reason for all others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from simmerge_hub.errors import AlignmentError, BaseUnknown, ProbeError
from simmerge_hub.operators import arm
from simmerge_hub.planning import catalogue, verdict
from simmerge_hub.planning.catalogue import CataloguePlan, plan_catalogue
from simmerge_hub.planning.many import ManyPlan
from simmerge_hub.planning.plan import Plan
from simmerge_hub.planning.tasks import Task
from simmerge_hub.recipe import parse
from simmerge_hub.selector.novelty import Novelty
from tests import nano
from tests.catalogues import Catalogue


@pytest.fixture
def made(org: str, tmp_path: Path) -> Catalogue:
    return Catalogue(org, tmp_path)


def planned(made: Catalogue, **how: Any) -> CataloguePlan:
    return plan_catalogue(made.slug, signals="structural", **how)


def filled(made: Catalogue) -> None:
    """Two good at each of three tasks, one good at nothing, and a stranger."""
    for task in ("gsm8k", "humaneval", "squad"):
        for number in range(2):
            made.model(f"{task}-{number}", **{task: 0.9 - number / 10})
    made.model("silent")
    far = nano.save(made.folder / "far", nano.weights(7), card=made.card(gsm8k=0.99))
    made.put("far", far)


def test_the_best_few_are_searched_and_the_rest_is_told_why(made: Catalogue) -> None:
    filled(made)
    found = planned(made, shortlist=3, most=2)
    assert isinstance(found.plan, ManyPlan)
    assert found.base == made.base
    assert found.listed == 8
    best = {f"{made.org}/{task}-0": task for task in ("gsm8k", "humaneval", "squad")}
    assert set(found.shortlist) == set(best)
    reasons = {name.partition("/")[2]: reason for name, reason in found.dropped.items()}
    assert reasons["gsm8k-1"] == "1 other states a better score on math"
    assert "is no fine-tune of" in reasons["far"]
    assert set(reasons) == {"silent", "far", "gsm8k-1", "humaneval-1", "squad-1"}
    recipe, why = parse(found.to_yaml(), "the plan")
    assert recipe == found.plan.recipe
    assert len(recipe.models) == 2
    assert found.dropped.items() <= why["left_out"].items()
    data = found.to_dict()
    assert data["catalogue"]["dropped"] == found.dropped
    assert yaml.safe_load(data["recipe"])


def ordinary(_: Any, tasks: Sequence[Task], __: Any) -> dict[str, Novelty]:
    """As if models of a few kilobytes were like those of the zoo."""
    near = Novelty(status="calibrated", distance=0.0, outside=0.0, strange=(), reason="")
    return {task.name: near for task in tasks}


def test_models_unlike_any_that_were_held_out_are_merged_by_equal_linear(made: Catalogue) -> None:
    filled(made)
    found = planned(made, most=3).plan
    assert isinstance(found, ManyPlan)
    assert (found.status, found.best.tree.arm) == ("abstained", arm("linear"))
    assert {m.name for m in found.recipe.models} == {task.expert for task in found.tasks}
    said = found.explain()
    assert "is the safe choice: too few held-out models were as far from training" in said
    assert "on 11 pairs of LoRA specialists of a 270 M language model" in said
    assert "evaluate this merge" in said


def test_of_more_than_a_field_only_the_best_in_pairs_go_on(
    made: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(made)
    monkeypatch.setattr(catalogue, "FIELD", 3)
    monkeypatch.setattr(verdict, "most_novel", ordinary)
    found = planned(made, most=3)
    assert isinstance(found.plan, ManyPlan)
    beaten = [n for n, why in found.plan.left_out.items() if why.startswith("merges of two")]
    assert len(found.shortlist) == 6
    assert len(beaten) == 3
    assert not set(beaten) & {m.name for m in found.plan.recipe.models}


def test_two_that_are_left_are_a_plan_of_two(made: Catalogue) -> None:
    made.model("math", gsm8k=0.9)
    made.model("code", humaneval=0.9)
    made.files("gguf", model_gguf="x")
    found = plan_catalogue(author=made.org, base=made.base, signals="structural")
    assert isinstance(found.plan, Plan)
    assert f"{made.org}/gguf" in found.plan.left_out
    assert found.plan.tasks[0].source == "the only score on the cards, 0.90"
    with pytest.raises(AlignmentError, match="3 to 4 of 2 models"):
        planned(made, least=3)


def test_named_experts_need_no_scores(made: Catalogue) -> None:
    made.model("a")
    made.model("b")
    made.model("c")
    with pytest.raises(AlignmentError, match="none is left") as caught:
        planned(made)
    assert "a, " in str(caught.value)
    assert "--expert TASK=MODEL" in str(caught.value)
    found = planned(made, experts={"code": "a", "math": f"{made.org}/b"})
    assert set(found.shortlist) == {f"{made.org}/a", f"{made.org}/b"}
    with pytest.raises(ProbeError, match="not among the models"):
        planned(made, experts={"code": "nobody"})


def test_an_expert_that_was_dropped(made: Catalogue) -> None:
    made.model("a", gsm8k=0.9)
    made.model("b", humaneval=0.9)
    made.files("gguf", model_gguf="x")
    with pytest.raises(ProbeError, match="gguf, cannot be merged: has no safetensors"):
        planned(made, experts={"math": "gguf"})


def test_probes_of_strangers_that_are_not_there(made: Catalogue) -> None:
    card = made.card(gsm8k=0.9).replace('"gsm8k"', '"gone/data"')
    made.model("a", card=card)
    made.model("b", humaneval=0.9)
    made.model("c", squad=0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "measured", stop)
        with pytest.raises(Stopped) as caught:
            plan_catalogue(made.slug)
    inputs = caught.value.args[0]
    assert [task.name for task in inputs.tasks] == ["code", "rag"]
    assert "there is no repository gone/data" in inputs.dropped["gone/data"]


class Stopped(Exception):
    """Carries what would be measured."""


def stop(inputs: Any, **_: Any) -> None:
    raise Stopped(inputs)


def test_what_is_recorded_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "RECORDED", 2)
    recorded = catalogue._recorded(dict.fromkeys("abcd", "no"))
    assert recorded == {"a": "no", "b": "no", "2 more candidates": "too many to record"}


@pytest.mark.parametrize(
    "given",
    [{}, {"author": "org"}, {"collection": "org/x", "author": "org", "base": "org/b"}],
)
def test_one_catalogue_is_named(given: dict[str, str]) -> None:
    with pytest.raises(AlignmentError, match="a catalogue is a collection, or an author"):
        plan_catalogue(**given)


def test_a_base_that_is_not_theirs(made: Catalogue) -> None:
    made.model("a", gsm8k=0.9)
    made.model("b", humaneval=0.9)
    with pytest.raises(AlignmentError, match="was made from another base") as caught:
        planned(made, base=f"{made.org}/a")
    assert not isinstance(caught.value, BaseUnknown)
