"""SHA256SUMS: what the usual tools read, and nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.files.checksums import (
    CHECKSUMS_FILE,
    LARGEST_CHECKSUMS,
    parse_checksums,
    visible_files,
    write_checksums,
)

DIGEST = b"a" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    for name in (
        "model.safetensors",
        "a name.json",
        "templates/tool.jinja",
        "README.md",
        ".hidden",
    ):
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    return tmp_path


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="coreutils are not here")
def test_common_tools_read_it(folder: Path) -> None:
    run = ["sha256sum", "--check", "--strict", CHECKSUMS_FILE]
    assert subprocess.run(run, cwd=folder, capture_output=True).returncode == 0
    (folder / "model.safetensors").write_text("model.safetensorz")
    assert subprocess.run(run, cwd=folder, capture_output=True).returncode == 1


def test_every_visible_file_but_the_card_is_listed(folder: Path) -> None:
    listed = parse_checksums((folder / CHECKSUMS_FILE).read_bytes(), "x")
    assert list(listed) == ["a name.json", "model.safetensors", "templates/tool.jinja"]
    before = (folder / CHECKSUMS_FILE).read_bytes()
    write_checksums(folder)
    assert (folder / CHECKSUMS_FILE).read_bytes() == before


def test_links_are_files_only_if_asked_for(folder: Path) -> None:
    (folder / "link").symlink_to("README.md")
    assert "link" not in visible_files(folder)
    assert visible_files(folder, links=True)["link"] == folder / "link"


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\n", b"no digest", DIGEST, DIGEST + b"  ", DIGEST + b"  ../out",
        DIGEST + b"  /etc/x", DIGEST + b"  a//b", DIGEST.upper() + b"  a",
        DIGEST + b"  a\n" + DIGEST + b"  a\n",
        DIGEST + b"  a\n\nmore", DIGEST + b"  " + b"a" * LARGEST_CHECKSUMS, b"\xff" * 80,
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_checksums(text, "merged")
    assert str(caught.value) == (
        "SHA256SUMS of merged is not a list of sha256 digests and file names"
    )
    assert caught.value.hint
