"""The files of the Space: what the Hub is told, what it installs, what it runs."""

import ast
import errno
import shutil
from pathlib import Path

import pytest
from huggingface_hub import SpaceCardData

from simmerge_hub.hub.resolve import front_matter as read_front_matter
from simmerge_hub.space.publish import front_matter, requirements, write_space


def test_the_folder_is_a_space_that_needs_nothing_else(tmp_path: Path) -> None:
    write_space(tmp_path)
    told = read_front_matter((tmp_path / "README.md").read_text())
    assert told == front_matter()
    assert SpaceCardData(**told).sdk == "gradio"
    assert told["hf_oauth"] is True
    assert len(told["short_description"]) <= 60
    ast.parse((tmp_path / told["app_file"]).read_text())
    installed = (tmp_path / "requirements.txt").read_text()
    for name in ("torch", "huggingface", "transformers", "matplotlib"):
        assert name in installed
    for name in ("pytest", "mkdocs", "starlette", "gradio"):
        assert name not in installed
    assert (tmp_path / "simmerge_hub" / "space" / "style.css").is_file()
    assert (tmp_path / "simmerge_hub" / "selector" / "predictor" / "default.json").is_file()
    assert not list(tmp_path.rglob("__pycache__"))
    assert not (tmp_path / "simmerge_hub" / "zoo").exists()


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each of four hundred files it was said."""

    def fill(source: Path, target: Path, **_: object) -> None:
        why = f"[Errno 28] No space left on device: '{source}' -> '{target}'"
        raise shutil.Error([(str(source), str(target), why)] * 400)

    monkeypatch.setattr("shutil.copytree", fill)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_space(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert len(str(caught.value)) < 80


def test_what_is_installed_has_no_conditions() -> None:
    assert not [line for line in requirements() if ";" in line]
