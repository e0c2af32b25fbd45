"""Where a predictor comes from."""

import shutil
from pathlib import Path

import pytest

from simmerge_hub.errors import PredictorError, RepoNotFound
from simmerge_hub.hub.reference import ModelRef, local_folder
from simmerge_hub.selector.predictor import archive, origin


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


@pytest.mark.parametrize("text", ["org/predictor", "org/predictor@v1"])
def test_a_path_is_what_is_one_everywhere_else(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hub.reference` says whether it is a folder here or a repository; of a file here, we do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(origin, "_from_hub", lambda ref: ref)
    assert local_folder(text) is None
    assert origin.find(text) == ModelRef.parse(text)
    folder = tmp_path / text
    folder.mkdir(parents=True)
    assert local_folder(text) == Path(text)
    with pytest.raises(PredictorError, match=f"there is no predictor {text}/predictor.json"):
        origin.find(text)
    shutil.copy(origin.packaged_predictor(), folder / "predictor.json")
    assert origin.find(text).origin == "a local file"


def test_a_file_without_an_ending_wins_over_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    shutil.copy(origin.packaged_predictor(), tmp_path / "org" / "best")
    assert origin.find("org/best").origin == "a local file"


def test_the_home_of_nobody() -> None:
    with pytest.raises(RepoNotFound, match="neither a folder here nor a repository name"):
        origin.find("~nobody-of-this-name/predictor.json")


def test_the_packaged_one_is_what_a_stranger_with_the_same_file_gives() -> None:
    """It is read without the checks that guard against strangers; they change nothing."""
    ours = origin.find().predictor
    checked = archive.load(origin.packaged_predictor())
    assert archive.text(ours) == archive.text(checked)
