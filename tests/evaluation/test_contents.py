"""What files are by their content: everything that matters counts, what a run writes does not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from simmerge_hub.errors import EvaluationError
from simmerge_hub.evaluation import contents
from simmerge_hub.evaluation.contents import path_digest, task_content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tasks"
    (made / "data").mkdir(parents=True)
    (made / "mine.yaml").write_text("task: mine\n")
    (made / "data" / "a.csv").write_text("q,a\n")
    return made


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "mine.yaml").write_text("task: other\n"),
        lambda f: (f / "data" / "a.csv").write_text("q,b\n"),
        lambda f: (f / "data" / "a.csv").rename(f / "data" / "b.csv"),
        lambda f: (f / "utils").write_bytes(b""),
    ],
)
def test_names_and_contents_of_all_files_count(
    folder: Path, change: Callable[[Path], object]
) -> None:
    before = path_digest(folder)
    change(folder)
    assert path_digest(folder) != before


def test_what_a_run_writes_and_caches_do_not_count(folder: Path) -> None:
    before = path_digest(folder)
    for name in ("learned/journal.jsonl", "found/search.jsonl", "__pycache__/a.pyc", ".git/HEAD"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("x")
    (folder / "learned" / "scratch").mkdir()
    (folder / "learned" / "scratch" / "model").write_text("x")
    assert path_digest(folder) == before


def test_a_task_is_its_content_wherever_it_lies(folder: Path) -> None:
    moved = folder.rename(folder.with_name("moved"))
    moved_content = task_content(str(moved / "mine.yaml"))
    assert moved_content.startswith("mine.yaml in ")
    back = moved.rename(folder)
    assert task_content(str(back / "mine.yaml")) == moved_content
    assert task_content("gsm8k") == ""
    assert task_content("gsm8k", folder) != ""


def test_a_folder_of_everything_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MOST_FILES", 1)
    with pytest.raises(EvaluationError, match="more than 1 files") as caught:
        path_digest(folder)
    assert "a folder of their own" in caught.value.hint


def test_a_large_file_counts_by_its_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "LARGE", 4)
    before = path_digest(folder)
    (folder / "mine.yaml").write_text("task: longer\n")
    assert path_digest(folder) != before
