"""Sources become checkpoints, and checkpoints pins."""

from dataclasses import replace
from pathlib import Path

import pytest

from simmerge_hub.errors import RecipeError, RepoNotFound
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.recipe import Recipe, Source, Step, fetch, load, pin, source
from tests import nano
from tests.recipe.conftest import GOOD, read


class TestFolders:
    def test_relative_to_the_file(self, tmp_path: Path) -> None:
        nano.model(tmp_path / "models" / "a")
        nano.model(tmp_path / "models" / "b", 1)
        (tmp_path / "plans").mkdir()
        path = tmp_path / "plans" / "plan.yaml"
        path.write_text(
            "simmerge: 1\nmodels: [{folder: ../models/a}, ../models/b]\n"
            "steps: [{operator: linear, models: [a, b]}]\n"
        )
        recipe, _ = load(path)
        assert [m.name for m in recipe.models] == ["a", "b"]
        assert [fetch(m).name for m in recipe.models] == ["a", "b"]

    def test_a_plan_may_be_written_anywhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`plan ./a -o plans/plan.yaml`: the folder is written as it lies, not as it was typed."""
        nano.model(tmp_path / "a")
        (tmp_path / "plans").mkdir()
        monkeypatch.chdir(tmp_path)
        here = source(resolve("./a"))
        recipe = Recipe(
            base=None,
            models=(here,),
            steps=(Step(operator="linear", models=("a",), parameters={}),),
        )
        (tmp_path / "plans" / "plan.yaml").write_text(recipe.to_yaml())
        assert fetch(load("plans/plan.yaml")[0].models[0]).name == "a"
        assert str(tmp_path) not in recipe.to_yaml(published=True)

    def test_another_digest(self, tmp_path: Path) -> None:
        known = source(resolve(str(nano.model(tmp_path / "a"))))
        assert fetch(known).tensors
        (tmp_path / "a" / "config.json").write_text('{"model_type": "other"}')
        with pytest.raises(RecipeError) as caught:
            fetch(known)
        assert str(caught.value).startswith(
            f"{tmp_path}/a is not what the recipe was made from: digest "
        )
        assert caught.value.hint == "restore that version of the model, or plan again"

    def test_a_folder_of_another_machine(self) -> None:
        with pytest.raises(RecipeError) as caught:
            fetch(Source(name="a", digest="0123456789abcdef"))
        assert (
            str(caught.value)
            == "a was a folder, and recipes keep no path of one (digest 0123456789abcdef)"
        )
        assert caught.value.hint.endswith(
            "add `folder: PATH` to its entry there; the digest will be checked"
        )

    def test_a_folder_that_is_gone(self, tmp_path: Path) -> None:
        with pytest.raises(RepoNotFound, match="there is no folder"):
            fetch(Source(name="a", folder=tmp_path / "gone"))


def test_pins(tmp_path: Path) -> None:
    checkpoint = resolve(str(nano.model(tmp_path / "x")))
    recipe = replace(read(GOOD), dtype="")
    exact = pin(recipe, {s.name: checkpoint for s in recipe.sources}, "float16")
    assert exact.dtype == "float16"
    assert [s.name for s in exact.sources] == [s.name for s in recipe.sources]
    assert all(s.digest for s in exact.sources)
    assert pin(read(GOOD), {s.name: checkpoint for s in recipe.sources}, "float16").dtype == (
        "bfloat16"
    )
