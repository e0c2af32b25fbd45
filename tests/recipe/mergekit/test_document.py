"""What is a recipe of mergekit, and what its parts say."""

from pathlib import Path

import pytest

from simmerge_hub.recipe import load, mergekit
from tests.recipe.mergekit.conftest import FOLDER


class TestRecognised:
    def test_mappings_with_a_method(self) -> None:
        assert mergekit.is_mergekit("merge_method: linear\n")
        assert mergekit.is_mergekit('{"models": [], "merge_method": linear}')
        assert mergekit.is_mergekit("merge_method: a\n---\nmerge_method: b\n")

    @pytest.mark.parametrize(
        "text",
        [
            "", "simmerge: 1\n", "- merge_method\n", "about: merge_method\n", "merge_method",
            "a: {merge_method: linear}\n", "merge_method: [\n", "\0merge_method: a\n",
            "merge_method: " + "[" * 10_000, "? [merge_method]\n: 1\n",
        ],
    )  # fmt: skip
    def test_nothing_else(self, text: str) -> None:
        assert not mergekit.is_mergekit(text)

    def test_a_file_of_its_is_loaded(self, tmp_path: Path) -> None:
        path = tmp_path / "m.yml"
        path.write_text((FOLDER / "karcher.yml").read_text().replace("model: ", "model: org/"))
        recipe, why = load(path)
        assert (recipe.operators, why) == (("karcher",), None)
