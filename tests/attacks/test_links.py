"""Links in an input folder: those that lead out of it are refused, and nothing behind is published.

Attack: an archive or a shared folder whose LICENSE, tokenizer or card is a link to a private file.
"""

from pathlib import Path

import pytest

from simmerge_hub import merger
from simmerge_hub.errors import CheckpointError
from simmerge_hub.recipe import load
from tests import nano

SECRET = "the private key"


def merge(model: Path, folder: Path) -> Path:
    recipe = folder / "m.yaml"
    recipe.write_text(
        f"simmerge: 1\nmodels: [{{folder: {model}, name: a}}]\n"
        "steps: [{operator: passthrough, models: [a]}]\n"
    )
    merger.merge(load(recipe)[0], folder / "out")
    return folder / "out"


@pytest.mark.parametrize(
    "name",
    [
        "LICENSE", "NOTICE", "tokenizer.json", "tokenizer_extra.txt", "README.md", "config.json",
        "generation_config.json", "chat_template.jinja", "model.safetensors", "notes.txt",
    ],
)  # fmt: skip
@pytest.mark.parametrize("relative", [False, True])
def test_a_link_out_of_the_folder(tmp_path: Path, name: str, relative: bool) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    model = nano.model(tmp_path / "model")
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to("../secret" if relative else secret)
    with pytest.raises(CheckpointError, match="outside of the folder") as refused:
        merge(model, tmp_path)
    assert "hard link" in str(refused.value.hint)
    assert not (tmp_path / "out").exists()


def test_a_link_through_another_link_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    model = nano.model(tmp_path / "model")
    (model / "inner").symlink_to(tmp_path)
    (model / "LICENSE").symlink_to("inner/secret")
    with pytest.raises(CheckpointError, match="outside of the folder"):
        merge(model, tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.safetensors"])
def test_a_link_to_nothing(tmp_path: Path, name: str) -> None:
    """An incomplete download must not become a model without a tokenizer."""
    model = nano.model(tmp_path / "model")
    (model / name).rename(tmp_path / "away")
    (model / name).symlink_to(model / "gone")
    with pytest.raises(CheckpointError, match="a file that is not there"):
        merge(model, tmp_path)


def snapshot(cache: Path) -> Path:
    """A model as it lies in huggingface_hub's cache."""
    model = nano.model(cache / "model", seed=1)
    folder = cache / "models--org--x" / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    blobs = cache / "models--org--x" / "blobs"
    blobs.mkdir()
    for path in model.iterdir():
        path.rename(blobs / path.name)
        (folder / path.name).symlink_to(f"../../blobs/{path.name}")
    return folder


def test_links_of_the_hub_cache_and_inside_the_folder_are_followed(tmp_path: Path) -> None:
    model = snapshot(tmp_path)
    assert (merge(model, tmp_path) / "tokenizer.json").is_file()
    plain = nano.model(tmp_path / "plain")
    (plain / "NOTICE.txt").write_text("mine")
    (plain / "LICENSE").symlink_to("NOTICE.txt")
    (tmp_path / "again").mkdir()
    assert (merge(plain, tmp_path / "again") / "LICENSE").read_text() == "mine"


def test_a_blob_that_is_itself_a_link(tmp_path: Path) -> None:
    model = snapshot(tmp_path)
    (tmp_path / "secret").write_text(SECRET)
    blob = (model / "tokenizer.json").resolve()
    blob.unlink()
    blob.symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match="outside of the folder"):
        merge(model, tmp_path)
