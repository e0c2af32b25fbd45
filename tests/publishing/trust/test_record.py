"""What `show` says of a merge: how, why, how good, and what its parents are now."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, ModelCard, hf_hub_download

from simmerge_hub.errors import EndpointDown, RecipeError, RepoNotFound
from simmerge_hub.hub.client import acting_with
from simmerge_hub.hub.evaluations import CardScore
from simmerge_hub.hub.files import cached
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.hub.upload.results import MeasuredScore, attach_scores
from simmerge_hub.publishing import verbs
from simmerge_hub.publishing.target import Target
from simmerge_hub.publishing.trust.measured import add_measured, show_measured
from simmerge_hub.publishing.trust.naming import explain_choice, explain_status, name_recipe
from simmerge_hub.publishing.trust.record import show
from simmerge_hub.publishing.trust.redo import read_recorded
from simmerge_hub.publishing.trust.results import Kept, compare_results
from simmerge_hub.publishing.trust.verify import verify
from simmerge_hub.publishing.verbs import merge, merge_to_hub, push
from simmerge_hub.recipe import Recipe, Source, Step, load, source
from simmerge_hub.recipe.why import MEANINGS
from tests import nano
from tests.publishing.test_card import WHY
from tests.publishing.test_verbs import plan


@pytest.fixture
def merged(org: str, tmp_path: Path) -> str:
    """A merge of two models on the Hub, pushed with its plan."""
    return publish_merge(org, tmp_path)


def publish_merge(org: str, tmp_path: Path) -> str:
    """The models, the merge, and the plan in `tmp_path`, the merge there in `out`."""
    nano.family(tmp_path)
    for name in ("base", "code", "math"):
        (tmp_path / name / "README.md").write_text("---\nlicense: mit\n---\n")
        nano.push(tmp_path / name, f"{org}/{name}")
    (tmp_path / "plan.yaml").write_text(plan(org))
    merge(tmp_path / "plan.yaml", tmp_path / "out")
    return push(tmp_path / "out", f"{org}/merged").repo


def measured(value: float, dataset: str = "openai/gsm8k") -> MeasuredScore:
    return MeasuredScore(
        task="gsm8k", dataset=dataset, metric="exact_match", value=value, arguments={}, harness="1"
    )


def test_parents_as_they_are_now(merged: str, org: str, tmp_path: Path) -> None:
    before = show(merged)
    assert before.commit == HfApi().model_info(merged).sha
    assert before.licence == "mit" and not before.planned
    plan_only = show(tmp_path / "plan.yaml")
    assert plan_only.licence == "mit" and plan_only.planned
    assert [(p.name, p.role, p.state) for p in before.parents] == [
        (f"{org}/base", "base", "same"),
        (f"{org}/code", "model", "same"),
        (f"{org}/math", "model", "same"),
    ]
    HfApi().delete_repo(f"{org}/base")
    nano.save(tmp_path / "code", nano.weights(9))
    nano.push(tmp_path / "code", f"{org}/code")
    (tmp_path / "math" / "README.md").write_text("---\nlicense: mit\n---\nNew words.\n")
    now = nano.push(tmp_path / "math", f"{org}/math")
    assert show(tmp_path / "plan.yaml").licence is None  # nobody knows what the base asks for
    base, code, math = show(merged).parents
    assert (base.state, base.now) == ("gone", "")
    assert (code.state, code.detail) == ("moved on", "other weights")
    assert (math.state, math.now, math.detail) == ("moved on", now, "the same weights")
    assert code.commit == before.parents[1].commit


def test_a_commit_that_is_gone_is_said(merged: str, org: str, tmp_path: Path) -> None:
    HfApi().delete_repo(f"{org}/code")
    nano.save(tmp_path / "code", nano.weights(9))
    nano.push(tmp_path / "code", f"{org}/code")
    code = show(merged).parents[1]
    assert (code.state, code.detail) == ("moved on", "the commit that was merged is gone")


def test_predictions_beside_what_was_measured(merged: str, org: str) -> None:
    (kept,) = show(merged).results
    assert (kept.task, kept.predicted, kept.score) == ("code", (0.5, 0.2, 0.8), None)
    attach_scores(merged, [measured(0.4, "openai_humaneval"), measured(0.3)])
    attach_scores(f"{org}/code", [measured(0.5, "openai_humaneval")])
    code, math = show(merged).results
    assert (code.score, code.expert_score, code.measured) == (0.4, 0.5, pytest.approx(0.8))
    assert (math.task, math.predicted, math.score, math.measured) == ("math", None, 0.3, None)


def raise_down(*_: object) -> None:
    raise EndpointDown("the Hub answers 503")


def test_scores_on_a_card_that_only_its_owner_may_read(
    merged: str, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    repo, token = f"visitor/{org}", "hf_visitor"
    push(tmp_path / "out", repo, private=True, token=token)
    with pytest.raises(RepoNotFound):
        show(repo)
    with acting_with(token):
        edit = partial(show_measured, repo)
        attach_scores(repo, [measured(0.4, "openai_humaneval")], edit=edit)
        assert push(tmp_path / "out", repo, token=token).outcome == "unchanged"
    assert push(tmp_path / "out", repo, token=token).outcome == "unchanged"


def test_a_card_that_nobody_would_write_is_not_downloaded(
    merged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached, "LARGEST_SMALL", 10)
    monkeypatch.setattr(cached, "local_file", raise_down)
    with pytest.raises(RecipeError, match="has no recipe on its card"):
        show(merged)
    assert read_recorded(merged) is None


def chart_of(repo: str) -> str:
    return Path(hf_hub_download(repo, "chart.svg")).read_text("utf-8")


def test_measured_scores_stand_on_the_card_and_stay_there(
    merged: str, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attach(repo: str, *scores: MeasuredScore) -> str:
        attach_scores(repo, scores, edit=lambda text: show_measured(repo, text))
        return ModelCard.load(repo).text

    assert "## Measured" not in attach(f"{org}/code", measured(0.5, "openai_humaneval"))
    for value, kept in ((0.4, "80 %"), (0.3, "60 %")):
        text = attach(merged, measured(value, "openai_humaneval"))
        assert text.count("## Measured") == 1
        assert f"| code | 50 % (20–80) | {kept} | {value:.3f} | 0.500 |" in text
        assert f"Measured: {kept} of the score of" in text
        assert "Expected, not measured" not in text
        assert f"between 20 % and 80 %, measured {kept}" in text
        assert f"{kept} measured" in chart_of(merged)
    assert load(merged)[0] == load(tmp_path / "out")[0]
    assert verify(merged).holds
    before = HfApi().model_info(merged).sha
    assert push(tmp_path / "out", merged).outcome == "unchanged", "a push does not lose them"
    assert HfApi().model_info(merged).sha == before
    assert push(tmp_path / "out", merged, create_pr=True).outcome == "unchanged"
    merge_to_hub(tmp_path / "plan.yaml", Target(repo_id=merged), folder=tmp_path / "work")
    assert "## Measured" in ModelCard.load(merged).text
    assert "60 % measured" in chart_of(merged)
    with monkeypatch.context() as broken, pytest.raises(EndpointDown):
        broken.setattr(verbs, "list_repository", raise_down)
        push(tmp_path / "out", merged)
    assert HfApi().model_info(merged).sha == before
    (tmp_path / "out" / "extra.txt").write_text("")
    push(tmp_path / "out", merged, force=True)
    assert "## Measured" not in ModelCard.load(merged).text, "they are of other files"
    assert "% measured" not in chart_of(merged)


def test_a_folder_and_a_plan_have_no_commit(merged: str, tmp_path: Path) -> None:
    for place in (tmp_path / "out", tmp_path / "plan.yaml"):
        record = show(place)
        assert (record.commit, record.recipe) == ("", show(merged).recipe)
        assert record.why is not None


def test_what_is_no_merge(org: str, merged: str) -> None:
    with pytest.raises(RecipeError, match="has no recipe on its card"):
        show(f"{org}/code")


def test_a_merge_of_folders(tmp_path: Path) -> None:
    models = []
    for seed, name in enumerate("ab"):
        nano.save(tmp_path / name, nano.weights(seed))
        models.append(source(resolve(str(tmp_path / name))))
    mean = Recipe(
        base=None,
        models=tuple(models),
        steps=(Step(operator="linear", models=("a", "b"), parameters={}),),
    )
    merge(mean, tmp_path / "out")
    record = show(tmp_path / "out")
    assert [(p.state, p.repo, bool(p.digest)) for p in record.parents] == [("folder", "", True)] * 2
    assert record.why is None
    assert record.results == ()


def score(dataset: str, value: float, metric: str = "acc", task: str = "code") -> CardScore:
    return CardScore(task=task, dataset=dataset, metric=metric, value=value)


@pytest.mark.parametrize(
    ("mine", "theirs", "kept"),
    [
        ([score("x", 0.4)], [score("x", 0.8)], 0.5),
        ([score("y", 0.9), score("x", 0.4)], [score("x", 0.8)], 0.5),
        ([score("x", 0.4)], [score("y", 0.8)], None),
        ([score("x", 0.4, "f1")], [score("x", 0.8)], None),
        ([score("x", 0.4)], [score("x", 0.0)], None),
        ([score("x", 0.4)], [], None),
    ],
)
def test_a_share_needs_the_same_data_set_and_metric(
    mine: list[CardScore], theirs: list[CardScore], kept: float | None
) -> None:
    first, second = compare_results(WHY, mine, {"org/code": theirs})
    assert first.measured == (None if kept is None else pytest.approx(kept))
    assert first.score is not None
    assert second == Kept(task="math", expert="org/math", predicted=(0.6, 0.4, 0.8))


def test_a_section_of_the_owner_stays(tmp_path: Path) -> None:
    own = "\n## Measured\n\nBy hand: 12 tokens a second.\n\n## Thanks\n\nTo all.\n"
    scores = "model-index:\n- name: m\n  results:\n  - task: {type: t}\n    dataset: {name: d}\n"
    head = f"---\n{scores}    metrics: [{{type: acc, value: 0.5}}]\n---\n# m\n"
    text = f"{head}{own}\n## Redo it\n\nRun this.\n"
    recipe = Recipe(base=None, models=(), steps=())
    once = add_measured(text, recipe, None)["README.md"]
    assert own.strip() in once and once.count("## Measured") == 2
    assert add_measured(once, recipe, None) == {"README.md": once}
    below = once.replace("\n## Redo it", "\n## Speed\n\nFast.\n\n## Redo it")
    again = add_measured(below, recipe, None)["README.md"]
    assert "Fast." in again and own.strip() in again and again.count("## Measured") == 2


def test_recipes_in_words() -> None:
    models = tuple(Source(name=f"org/{n}", repo=f"org/{n}", commit="c") for n in ("a", "b", "c"))

    def named(*steps: Step) -> str:
        return name_recipe(Recipe(base=None, models=models, steps=steps))

    ties = Step(operator="ties", models=("org/a", "org/b"), parameters={"density": 0.2})
    assert named(ties) == "TIES (density 0.2) of a + b"
    tree = (
        Step(operator="linear", models=("org/a", "org/b"), parameters={}, name="x"),
        Step(operator="slerp", models=("x", "org/c"), parameters={"t": 0.4}),
    )
    assert named(*tree) == "SLERP (t 0.4) of (plain average of a + b) + c"
    leaning = Step(operator="linear", models=("org/a", "org/b"), parameters={"weights": (0.7, 0.3)})
    assert named(leaning) == "average, 70 % a + 30 % b"
    changing = Step(operator="linear", models=("org/a",), parameters={"weights": [{"value": 1}]})
    assert named(changing).endswith(" of a")


def test_a_status_says_what_chose() -> None:
    far: Any = {"status": "abstained"}
    assert explain_status(WHY) == MEANINGS["calibrated"]
    assert explain_status(replace(WHY, **far)) == MEANINGS["abstained"]
    tried = replace(WHY, **far, tried=(WHY.choice,))
    assert "the safe operator" not in explain_status(tried)
    assert "made and run" in explain_status(tried)
    bandit = replace(WHY, **far, chosen_by="bandit")
    assert "the safe operator" not in explain_status(bandit)
    assert "a bandit chose" in explain_status(bandit)
    assert explain_choice(bandit).startswith("the choice of a bandit")
    assert explain_choice(replace(WHY, **far)) == "the safe one of 2 ways to merge"
    assert explain_choice(WHY).startswith("expected to have the highest mean")
    other = next(each for each in WHY.predictions if each.merge != WHY.choice)
    ahead = replace(other, utility=(9.0, 8.0, 10.0), missing={})
    small = replace(WHY, predictions=(*WHY.predictions, ahead))
    assert explain_choice(small) == (
        "the safe one of 3 ways to merge; another seems better, by too little to rely on"
    )
    short = replace(small, predictions=(*WHY.predictions, replace(ahead, missing={"code": 0.1})))
    assert explain_choice(short).startswith("expected to have the highest mean")
    many = replace(WHY, tree=("linear",))
    assert explain_choice(many).endswith(", with a margin for what is uncertain")
    assert explain_choice(replace(many, **far)) == "the safe way to merge them"
