"""A plan from a catalogue: a shortlist that is signed and searched, and a reason for all others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from simmerge_hub.errors import AlignmentError, BaseUnknown, ProbeError, RequestError
from simmerge_hub.operators import arm
from simmerge_hub.planning import plan as planning
from simmerge_hub.planning.ask.options import Catalogue, Search, Sources, Tasks
from simmerge_hub.planning.find.few import Survey
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.plan import Plan, plan
from simmerge_hub.planning.trees import judge
from simmerge_hub.recipe import parse
from simmerge_hub.selector.predictor.measured import pairs
from simmerge_hub.selector.predictor.novelty import Novelty
from tests import nano
from tests.catalogues import Catalogue as Shelf
from tests.planning.test_tokens import with_more


@pytest.fixture
def made(org: str, tmp_path: Path) -> Shelf:
    return Shelf(org, tmp_path)


STRUCTURAL = Sources(signals="structural")


def planned(
    made: Shelf,
    *,
    shortlist: int = 12,
    base: str | None = None,
    experts: Mapping[str, str] | None = None,
    **search: int,
) -> tuple[Plan, Survey]:
    chosen = plan(
        catalogue=Catalogue(collection=made.slug, shortlist=shortlist),
        base=base,
        tasks=Tasks(experts=experts or {}),
        sources=STRUCTURAL,
        search=Search(**search),
    )
    assert chosen.survey is not None
    return chosen, chosen.survey


def filled(made: Shelf) -> None:
    """Two good at each of three tasks, one good at nothing, and a stranger."""
    for task in ("gsm8k", "humaneval", "squad"):
        for number in range(2):
            made.model(f"{task}-{number}", **{task: 0.9 - number / 10})
    made.model("silent")
    far = nano.save(made.folder / "far", nano.weights(7), card=made.card(gsm8k=0.99))
    made.put("far", far)


def test_the_best_few_are_searched_and_the_rest_is_told_why(made: Shelf) -> None:
    filled(made)
    chosen, survey = planned(made, shortlist=3, most=2)
    assert chosen.of_many
    assert survey.base == made.base
    assert survey.listed == 8
    best = {f"{made.org}/{task}-0": task for task in ("gsm8k", "humaneval", "squad")}
    assert set(survey.shortlist) == set(best)
    reasons = {name.partition("/")[2]: reason for name, reason in survey.dropped.items()}
    assert reasons["gsm8k-1"] == "1 other states a better score on math"
    assert "is no fine-tune of" in reasons["far"]
    assert set(reasons) == {"silent", "far", "gsm8k-1", "humaneval-1", "squad-1"}
    recipe, why = parse(chosen.to_yaml(), "the plan")
    assert recipe == chosen.recipe
    assert len(recipe.models) == 2
    assert why is not None
    assert survey.dropped.items() <= why.left_out.items()
    data = chosen.to_dict()
    assert data["catalogue"]["dropped"] == survey.dropped
    assert yaml.safe_load(data["recipe"])


def ordinary(given: Inputs, *_: Any) -> dict[str, Novelty]:
    """As if models of a few kilobytes were like those of the zoo."""
    near = Novelty(status="calibrated", distance=0.0, outside=0.0, strange=(), reason="")
    return {task.name: near for task in given.tasks}


def test_models_unlike_any_that_were_held_out_are_merged_by_equal_linear(made: Shelf) -> None:
    filled(made)
    chosen, _ = planned(made, most=3)
    assert chosen.of_many
    assert (chosen.verdict.status, chosen.best.tree.arm) == ("abstained", arm("linear"))
    assert {m.name for m in chosen.recipe.models} == {task.expert for task in chosen.tasks}
    said = chosen.explain()
    assert "is the safe choice: too few held-out models were as far from training" in said
    assert f"on {pairs.read().pairs} pairs of specialists of a 270 M language model" in said
    assert "evaluate this merge" in said


def test_of_more_than_a_field_only_the_best_in_pairs_go_on(
    made: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(made)
    monkeypatch.setattr(judge, "FIELD", 3)
    monkeypatch.setattr(judge, "_most_novel", ordinary)
    chosen, survey = planned(made, most=3)
    assert chosen.of_many
    beaten = [n for n, why in chosen.left_out.items() if why.startswith("merges of two")]
    assert len(survey.shortlist) == 6
    assert len(beaten) == 3
    assert not set(beaten) & {m.name for m in chosen.recipe.models}


def test_two_that_are_left_are_a_plan_of_two(made: Shelf) -> None:
    made.model("math", gsm8k=0.9)
    made.model("code", humaneval=0.9)
    made.files("gguf", model_gguf="x")
    pair = plan(catalogue=Catalogue(author=made.org), base=made.base, sources=STRUCTURAL)
    assert not pair.of_many
    assert f"{made.org}/gguf" in pair.left_out
    assert pair.tasks[0].source == "the only score on the cards, 0.90"
    with pytest.raises(RequestError, match="3 to 4 of 2 models"):
        planned(made, least=3)


def test_a_model_that_added_tokens_is_searched_too(made: Shelf) -> None:
    made.model("math", gsm8k=0.9)
    grown = with_more(nano.tuned(made.weights, 1), 1)
    chat = nano.save(made.folder / "chat", grown, card=made.card(humaneval=0.9))
    (chat / "tokenizer.json").write_text(nano.words(nano.VOCABULARY, "<|im_end|>"))
    made.put("chat", chat)
    notes: list[str] = []
    pair = plan(catalogue=Catalogue(author=made.org), base=made.base, sources=STRUCTURAL,
                note=notes.append)  # fmt: skip
    assert {m.name for m in pair.recipe.models} == {f"{made.org}/chat", f"{made.org}/math"}
    assert any(f"base 20, {made.org}/chat 21)" in note for note in notes)


def test_tokenizers_are_read_of_the_shortlist_only(made: Shelf) -> None:
    """Candidates are many: of one size they are told apart by headers; then one is left out."""
    made.model("math", gsm8k=0.9)
    made.model("code", humaneval=0.9)
    wrong = nano.save(made.folder / "odd", nano.tuned(made.weights, 5), card=made.card(squad=0.9))
    (wrong / "tokenizer.json").write_text("{}")
    made.put("odd", wrong)
    pair, survey = planned(made)
    assert {m.name for m in pair.recipe.models} == {f"{made.org}/code", f"{made.org}/math"}
    assert "tokenizer.json" in survey.dropped[f"{made.org}/odd"]
    _, survey = planned(made, shortlist=2)
    assert "tokenizer.json" not in survey.dropped.get(f"{made.org}/odd", "")


def test_named_experts_need_no_scores(made: Shelf) -> None:
    made.model("a")
    made.model("b")
    made.model("c")
    with pytest.raises(AlignmentError, match="none is left") as caught:
        planned(made)
    assert "a, " in str(caught.value)
    assert "--expert TASK=MODEL" in str(caught.value)
    _, survey = planned(made, experts={"code": "a", "math": f"{made.org}/b"})
    assert set(survey.shortlist) == {f"{made.org}/a", f"{made.org}/b"}
    with pytest.raises(ProbeError, match="not among the models"):
        planned(made, experts={"code": "nobody"})


def test_an_expert_that_was_dropped(made: Shelf) -> None:
    made.model("a", gsm8k=0.9)
    made.model("b", humaneval=0.9)
    made.files("gguf", model_gguf="x")
    with pytest.raises(ProbeError, match="gguf, cannot be merged: has no safetensors"):
        planned(made, experts={"math": "gguf"})


def test_probes_of_strangers_that_are_not_there(made: Shelf) -> None:
    card = made.card(gsm8k=0.9).replace('"gsm8k"', '"gone/data"')
    made.model("a", card=card)
    made.model("b", humaneval=0.9)
    made.model("c", squad=0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "sign_all", stop)
        with pytest.raises(Stopped) as caught:
            plan(catalogue=Catalogue(collection=made.slug))
    inputs = caught.value.args[0]
    assert [task.name for task in inputs.tasks] == ["code", "rag"]
    assert "there is no dataset gone/data" in inputs.dropped["gone/data"]


class Stopped(Exception):
    """Carries what would be measured."""


def stop(inputs: Any, *_: Any, **__: Any) -> None:
    raise Stopped(inputs)


def test_what_is_recorded_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "REASONS_RECORDED", 2)
    dropped = dict.fromkeys("abcd", "no")
    survey = Survey(place="", base="", listed=4, shortlist={}, dropped=dropped)
    assert planning._record(survey) == {
        "a": "no",
        "b": "no",
        "2 more candidates": "too many to record",
    }


@pytest.mark.parametrize(
    "given",
    [{}, {"author": "org"}, {"collection": "org/x", "author": "org", "base": "org/b"}],
)
def test_one_catalogue_is_named(given: dict[str, str]) -> None:
    base = given.pop("base", None)
    with pytest.raises(RequestError, match="a catalogue is a collection, or an author"):
        plan(catalogue=Catalogue(**given), base=base)


def test_a_base_that_is_not_theirs(made: Shelf) -> None:
    made.model("a", gsm8k=0.9)
    made.model("b", humaneval=0.9)
    with pytest.raises(AlignmentError, match="was made from another base") as caught:
        planned(made, base=f"{made.org}/a")
    assert not isinstance(caught.value, BaseUnknown)
