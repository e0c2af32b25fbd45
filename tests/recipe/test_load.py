"""A recipe by file, by merged folder, by card."""

from pathlib import Path

import pytest

from simmerge_hub import localhub
from simmerge_hub.errors import RecipeError
from simmerge_hub.recipe import RECIPE_FILE, load
from tests import nano
from tests.recipe.conftest import GOOD, read

REDO = "## Redo it\n\n```yaml\n"


class TestLoad:
    def test_a_file_that_is_not_there(self) -> None:
        with pytest.raises(RecipeError) as caught:
            load("no/plan.yaml")
        assert str(caught.value) == "there is no file no/plan.yaml"
        assert (
            caught.value.hint
            == "check its path; simmerge-hub plan MODEL MODEL -o plan.yaml writes one"
        )

    def test_a_merged_folder(self, tmp_path: Path) -> None:
        (tmp_path / RECIPE_FILE).write_text(GOOD)
        assert load(tmp_path)[0] == read(GOOD)

    @pytest.mark.parametrize("card", ["", "# Nothing\n", "```yaml\nmerge_method: x\n```\n"])
    def test_a_model_without_recipe(self, tmp_path: Path, card: str) -> None:
        folder = nano.model(tmp_path / "model", card=card)
        with pytest.raises(RecipeError) as caught:
            load(folder)
        assert str(caught.value) == f"{folder} has no recipe on its card"
        assert "only what simmerge-hub merged has one" in caught.value.hint

    def test_a_card_on_the_hub(self, hub: localhub.Hub, org: str, tmp_path: Path) -> None:
        nano.push(
            nano.model(tmp_path / "m", card=f"---\nlicense: mit\n---\n\n{REDO}{GOOD}```\n"),
            f"{org}/m",
        )
        assert load(f"{org}/m")[0] == read(GOOD)

    def test_only_the_block_under_redo_it_counts(self, tmp_path: Path) -> None:
        other = GOOD.replace("seed: 3", "seed: 4")
        before = f"# M\n\n```yaml\n{other}```\n\nSays ## Redo it ```yaml\n{other}```\n\n"
        card = f"{before}{REDO}{GOOD}```\n"
        assert load(nano.model(tmp_path / "m", card=card))[0] == read(GOOD)
        with pytest.raises(RecipeError, match="has no recipe on its card"):
            load(nano.model(tmp_path / "n", card=f"# N\n\n```yaml\n{other}```\n"))

    @pytest.mark.parametrize("entry", ["folder: {0}", "'{0}'"])
    def test_a_card_cannot_ask_for_a_folder_of_ours(self, tmp_path: Path, entry: str) -> None:
        entry = entry.format(nano.model(tmp_path / "private"))
        models = f"[{{{entry}}}]" if entry.startswith("folder") else f"[{entry}]"
        recipe = (
            f"simmerge: 1\nmodels: {models}\nsteps: [{{operator: linear, models: [private]}}]\n"
        )
        folder = nano.model(tmp_path / "m", card=f"{REDO}{recipe}```\n")
        with pytest.raises(RecipeError, match=r"asks for the folder .*private of this machine"):
            load(folder)
