"""merge and push, as a user calls them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi, ModelCard
from torch import Tensor

from simmerge_hub import localhub
from simmerge_hub.errors import (
    OutputError,
    PushFailed,
    RecipeError,
    RequestError,
    SimmergeError,
)
from simmerge_hub.hub.files.checksums import CHECKSUMS_FILE
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.operators import OPERATORS
from simmerge_hub.operators.registry import operator
from simmerge_hub.publishing.sections.usage import REPO_ID
from simmerge_hub.publishing.target import Target
from simmerge_hub.publishing.trust.record import show
from simmerge_hub.publishing.trust.verify import verify
from simmerge_hub.publishing.verbs import check, check_push, load_recipe, merge, push
from simmerge_hub.recipe import RECIPE_FILE, Recipe, Step, dump_yaml, load, parse, source
from simmerge_hub.recipe.why import Aim, Why, WhyMerge, WhyTask
from tests import nano


@pytest.fixture
def pushed(hub: localhub.Hub, org: str, tmp_path: Path) -> str:
    """A base and two fine-tunes on the Hub; their namespace."""
    nano.family(tmp_path)
    for name in ("base", "code", "math"):
        (tmp_path / name / "README.md").write_text("---\nlicense: mit\n---\n")
        nano.push(tmp_path / name, f"{org}/{name}")
    return org


def plan(org: str) -> str:
    base, *models = (source(resolve(f"{org}/{n}")) for n in ("base", "code", "math"))
    names = tuple(m.name for m in models)
    recipe = Recipe(
        base=base,
        models=tuple(models),
        steps=(Step(operator="ties", models=names, parameters={"density": 0.5}),),
        dtype="float32",
    )
    tasks = {"code": (0.5, 0.2, 0.8)}
    why = Why(
        recipe=recipe.fingerprint,
        choice="ties(density=0.5)",
        status="calibrated",
        objective=Aim(heading="mean", description="the highest mean over code"),
        reason="Because.",
        coverage=0.9,
        predictor="p",
        predictor_from="the package",
        tasks=(WhyTask(task="code", expert=names[0], probes="x"),),
        predictions=(
            WhyMerge(merge="ties(density=0.5)", utility=tasks["code"], tasks=tasks, pareto=True),
        ),
    )
    return recipe.to_yaml() + dump_yaml({"why": why.to_dict()})


def test_plan_file_to_hub_and_back(pushed: str, tmp_path: Path) -> None:
    """The whole road: the merge redone from its card is the merge, byte for byte."""
    (tmp_path / "plan.yaml").write_text(plan(pushed))
    report = merge(tmp_path / "plan.yaml", tmp_path / "out")
    assert "0.50 (0.20 – 0.80)" in (tmp_path / "out" / "README.md").read_text()
    done = push(tmp_path / "out", f"{pushed}/merged")
    api = HfApi()
    assert api.list_repo_commits(done.repo)[0].title == (
        f"Merge of {pushed}/code, {pushed}/math with ties"
    )
    card = ModelCard.load(done.repo)
    assert REPO_ID not in card.text
    assert "simmerge-hub runs one recipe" in card.text
    assert "pypi.org" not in card.text
    assert f'from_pretrained("{done.repo}", dtype="float32")' in card.text
    assert card.data.base_model == [f"{pushed}/code", f"{pushed}/math"]
    again = merge(done.repo, tmp_path / "again")
    assert again.recipe == report.recipe
    text = (tmp_path / "again" / "README.md").read_text()
    assert "0.50 (0.20 – 0.80)" in text, "the card's predictions stay"
    assert text == (tmp_path / "out" / "README.md").read_text()
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda text: text, True),
        (lambda text: text.replace("seed: 0", "seed: 1"), False),
        (lambda text: "{", False),
    ],
    ids=["as merged", "of another recipe", "unreadable"],
)
def test_predictions_beside_a_card_are_of_its_recipe(
    change: Callable[[str], str], kept: bool, pushed: str, tmp_path: Path
) -> None:
    (tmp_path / "plan.yaml").write_text(plan(pushed))
    merge(tmp_path / "plan.yaml", tmp_path / "out")
    file = tmp_path / "out" / RECIPE_FILE
    file.write_text(change(file.read_text()))
    recipe, _ = load(tmp_path / "plan.yaml")
    nano.push(tmp_path / "out", f"{pushed}/merged")
    found, why = load(f"{pushed}/merged")
    assert found.fingerprint == recipe.fingerprint
    assert (why is not None) is kept


def test_check_takes_what_merge_takes(pushed: str, tmp_path: Path) -> None:
    """A Plan, a Recipe, a file, a merged folder and a card say the same."""
    file = tmp_path / "plan.yaml"
    file.write_text(plan(pushed))
    recipe, _ = load(file)
    merge(file, tmp_path / "out")
    push(tmp_path / "out", f"{pushed}/again")
    planned: Any = SimpleNamespace(recipe=recipe, why=lambda: None)
    for what in (planned, recipe, file, str(file), tmp_path / "out", f"{pushed}/again"):
        looked = check(what, threads=1)
        assert looked.layout.recipe.fingerprint == recipe.fingerprint
        assert not looked.rejected
        assert looked.threads == 1
        assert load_recipe(what)[0].fingerprint == recipe.fingerprint


@pytest.mark.parametrize("verb", [check, merge])
def test_check_and_merge_refuse_the_same(verb: Any, pushed: str, tmp_path: Path) -> None:
    given = () if verb is check else (tmp_path / "out",)
    with pytest.raises(RecipeError, match=r"there is no file .*gone\.yaml"):
        verb(tmp_path / "gone.yaml", *given)
    with pytest.raises(RecipeError, match="/code has no recipe on its card"):
        verb(f"{pushed}/code", *given)


def test_an_edited_plan_predicts_nothing(pushed: str, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(plan(pushed).replace("density: 0.5}", "density: 0.4}"))
    (tmp_path / "plan.yaml").write_text(plan(pushed).replace("seed: 0", "seed: 1"))
    merge(tmp_path / "plan.yaml", tmp_path / "out")
    assert "Nothing was predicted for it" in (tmp_path / "out" / "README.md").read_text()
    assert "why" not in (tmp_path / "out" / RECIPE_FILE).read_text()


def test_a_recipe_of_ones_own(pushed: str, tmp_path: Path) -> None:
    recipe, _ = parse(plan(pushed), "x")
    merge(recipe, tmp_path / "out")
    assert load(tmp_path / "out") == (recipe, None)


def test_a_merged_folder_keeps_its_predictions(pushed: str, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(plan(pushed))
    merge(tmp_path / "plan.yaml", tmp_path / "out")
    merge(tmp_path / "out", tmp_path / "again")
    for path in (tmp_path / "out").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_page_that_cannot_be_written_is_known_early(pushed: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is no file"):
        merge(tmp_path / "none.yaml", tmp_path / "out")
    assert not (tmp_path / "out").exists()


class TestPush:
    @pytest.fixture
    def folder(self, pushed: str, tmp_path: Path) -> Path:
        recipe, _ = parse(plan(pushed), "x")
        return merge(recipe, tmp_path / "out").folder

    @pytest.mark.parametrize("missing", [RECIPE_FILE, "README.md", None])
    def test_only_what_merge_made(self, folder: Path, pushed: str, missing: str | None) -> None:
        if missing:
            (folder / missing).unlink()
        else:
            shutil.rmtree(folder)
        with pytest.raises(OutputError) as caught:
            push(folder, f"{pushed}/merged")
        assert str(caught.value) == f"{folder} is not a folder that simmerge-hub merge made"
        assert caught.value.hint == "merge first: simmerge-hub merge plan.yaml -o merged"
        assert not HfApi().repo_exists(f"{pushed}/merged")

    @pytest.mark.parametrize("parent", ["base", "code"])
    def test_never_over_a_parent(self, folder: Path, pushed: str, parent: str) -> None:
        before = resolve(f"{pushed}/{parent}").commit
        with pytest.raises(OutputError) as caught:
            push(folder, f"{pushed}/{parent}")
        assert str(caught.value) == f"{pushed}/{parent} is one of the models that were merged"
        assert caught.value.hint == "push to a repository of its own"
        assert resolve(f"{pushed}/{parent}").commit == before

    def test_the_folder_is_left_as_it_was(self, folder: Path, pushed: str) -> None:
        before = {p.name: p.read_bytes() for p in folder.iterdir()}
        push(folder, f"{pushed}/merged")
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == before

    def test_private_and_pull_request(self, folder: Path, pushed: str) -> None:
        done = push(folder, f"{pushed}/merged", private=True)
        assert HfApi().model_info(done.repo).private is True
        (folder / "README.md").write_text("---\nlicense: mit\n---\n")
        proposed = push(folder, done.repo, create_pr=True)
        assert "/discussions/1" in proposed.url
        assert (done.outcome, proposed.outcome) == ("commit", "pull request")
        assert HfApi().model_info(done.repo).sha == done.oid

    def test_a_public_repository_stays_free_of_private_merges(
        self, folder: Path, pushed: str
    ) -> None:
        push(folder, f"{pushed}/merged")
        with pytest.raises(PushFailed, match="is public; nothing was pushed"):
            push(folder, f"{pushed}/merged", private=True)

    def test_everybody_sees_a_merge_of_private_models_only_if_asked_for(
        self, folder: Path, pushed: str
    ) -> None:
        HfApi().update_repo_settings(f"{pushed}/math", private=True)
        with pytest.raises(PushFailed) as caught:
            push(folder, f"{pushed}/merged")
        assert str(caught.value) == (
            f"{pushed}/math is private, or gone, and {pushed}/merged would not be private; "
            "nothing was pushed"
        )
        assert not HfApi().repo_exists(f"{pushed}/merged")
        assert HfApi().model_info(push(folder, f"{pushed}/hidden", private=True).repo).private
        assert push(folder, f"{pushed}/hidden").outcome == "unchanged"
        assert not HfApi().model_info(push(folder, f"{pushed}/merged", public=True).repo).private

    def test_it_is_said_before_the_merge(self, tmp_path: Path, pushed: str) -> None:
        (tmp_path / "plan.yaml").write_text(plan(pushed))
        HfApi().delete_repo(f"{pushed}/math")
        with pytest.raises(PushFailed, match="math is private, or gone"):
            check_push(tmp_path / "plan.yaml", Target(repo_id=f"{pushed}/merged"))
        HfApi().create_repo(f"{pushed}/merged")
        with pytest.raises(PushFailed, match="exists already, and is public"):
            check_push(tmp_path / "plan.yaml", Target(repo_id=f"{pushed}/merged", private=True))

    @pytest.mark.parametrize("shown", ["differs: config.json", "missing: config.json", "extra: x"])
    def test_only_what_the_merge_wrote(self, folder: Path, pushed: str, shown: str) -> None:
        if shown.startswith("missing"):
            (folder / "config.json").rename(folder / ".config.json")
        else:
            (folder / shown.split()[1]).write_text("{}")
        with pytest.raises(OutputError) as caught:
            push(folder, f"{pushed}/merged")
        assert str(caught.value) == f"{folder} is not what the merge wrote: {shown}"
        assert "--force" in caught.value.hint
        assert not HfApi().repo_exists(f"{pushed}/merged")
        done = push(folder, f"{pushed}/merged", force=True)
        card = ModelCard.load(done.repo)
        assert card.text.lstrip().startswith(
            f"> **These are not the files that the merge wrote:** {shown}. Redoing the recipe"
        )
        assert card.data.base_model == [f"{pushed}/code", f"{pushed}/math"]
        assert load(done.repo)[0] == load(folder)[0]
        assert verify(done.repo).explain() == shown

    def test_a_link_is_not_pushed_and_so_missing(self, folder: Path, pushed: str) -> None:
        (folder / "config.json").rename(folder.parent / "config.json")
        (folder / "config.json").symlink_to(folder.parent / "config.json")
        with pytest.raises(OutputError, match=r"missing: config\.json"):
            push(folder, f"{pushed}/merged")

    def test_digests_that_are_not_there(self, folder: Path, pushed: str) -> None:
        (folder / CHECKSUMS_FILE).unlink()
        with pytest.raises(OutputError, match="has no SHA256SUMS"):
            push(folder, f"{pushed}/merged")
        done = push(folder, f"{pushed}/merged", force=True)
        assert "SHA256SUMS, are missing or damaged. Redoing" in ModelCard.load(done.repo).text

    def test_a_folder_as_it_was_makes_no_commit(self, folder: Path, pushed: str) -> None:
        first = push(folder, f"{pushed}/merged")
        again = push(folder, f"{pushed}/merged")
        assert (first.outcome, again.outcome) == ("commit", "unchanged")
        assert again.oid == first.oid
        assert push(folder, f"{pushed}/merged", create_pr=True).outcome == "unchanged"

    def test_offline_nothing_is_pushed(
        self, folder: Path, pushed: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(PushFailed, match=r"; nothing was pushed$") as caught:
            push(folder, f"{pushed}/merged")
        assert caught.value.hint == "unset HF_HUB_OFFLINE, then push again"

    def test_a_branch_and_a_message_of_ones_own(self, folder: Path, pushed: str) -> None:
        repo = f"{pushed}/merged"
        done = push(folder, repo, revision="next", message="Mine")
        assert done.url.endswith(f"/{repo}/tree/next")
        assert HfApi().list_repo_commits(repo, revision="next")[0].title == "Mine"
        assert HfApi().model_info(repo, revision="next").sha == done.oid
        assert "config.json" not in HfApi().list_repo_files(repo)
        assert push(folder, repo, revision="next").outcome == "unchanged"
        with pytest.raises(RequestError, match="--revision names a branch"):
            push(folder, repo, revision="next", create_pr=True)


def test_a_push_with_a_token_is_by_whom_it_belongs_to(pushed: str, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(plan(pushed))
    merge(tmp_path / "plan.yaml", tmp_path / "out")
    with pytest.raises(PushFailed, match="may not write"):
        push(tmp_path / "out", f"{pushed}/merged", token="hf_visitor")
    name = f"visitor/{pushed}"
    push(tmp_path / "out", name, token="hf_visitor")
    assert HfApi().model_info(name).author == "visitor"


def test_a_merge_made_by_an_operator_of_one_s_own_is_of_the_file_that_declares_it(
    org: str, tmp_path: Path
) -> None:
    """Where that file is not loaded, the hint says how to: as docs/how-to/write-an-operator.md."""

    def larger_of(chunk: Tensor, _: None = None) -> Tensor:
        """Of every two weights the larger."""
        return chunk.max(0).values

    try:
        operator(space="weight", paper="ours")(larger_of)
        nano.family(tmp_path)
        models = tuple(source(resolve(str(tmp_path / name))) for name in ("code", "math"))
        step = Step(operator="larger_of", models=("code", "math"), parameters={})
        merge(Recipe(base=None, models=models, steps=(step,)), tmp_path / "out")
        push(tmp_path / "out", f"{org}/larger")
    finally:
        OPERATORS.pop("larger_of", None)
    for attempt in (
        lambda: push(tmp_path / "out", f"{org}/larger"),
        lambda: show(f"{org}/larger"),
        lambda: merge(f"{org}/larger", tmp_path / "again"),
    ):
        with pytest.raises(SimmergeError, match="there is no operator 'larger_of'") as refused:
            attempt()
        assert "run in place of simmerge-hub: python larger.py push" in (refused.value.hint or "")
    assert verify(f"{org}/larger").holds
