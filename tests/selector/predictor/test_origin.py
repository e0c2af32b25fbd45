"""Where a predictor comes from."""

import shutil
from pathlib import Path

import pytest

from simmerge_hub.errors import PredictorError
from simmerge_hub.selector.predictor import origin


def test_the_package_is_the_default() -> None:
    assert origin.find().origin == "the package"


def test_a_file_and_a_folder(tmp_path: Path) -> None:
    shutil.copy(origin.packaged_predictor(), tmp_path / "predictor.json")
    for reference in (tmp_path / "predictor.json", str(tmp_path)):
        found = origin.find(reference)
        assert found.origin == "a local file"
        assert found.predictor.training == origin.find().predictor.training


@pytest.mark.parametrize("text", ["p.json", "./org/p", "org/p.json", "~/p", "predictor"])
def test_a_file_that_is_not_there_is_not_looked_for_on_the_hub(text: str) -> None:
    with pytest.raises(PredictorError, match="there is no predictor"):
        origin.find(text)


def test_a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(PredictorError, match=r"there is no predictor .*predictor\.json"):
        origin.find(tmp_path)
