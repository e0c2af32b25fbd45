"""What users name: repositories, revisions, folders; and what is none of them."""

import errno
import os
from pathlib import Path

import pytest

from simmerge_hub import localhub
from simmerge_hub.errors import HubError, RepoNotFound
from simmerge_hub.hub.reference import ModelRef, local_folder, remember, resolve_files


class TestReferences:
    @pytest.mark.parametrize(
        ("text", "repo", "revision"),
        [
            ("org/name", "org/name", None),
            ("name", "name", None),
            ("org/name@v1.0", "org/name", "v1.0"),
            ("org/name@refs/pr/1", "org/name", "refs/pr/1"),
            ("org/name@", "org/name", None),
            ("org/na.me_-1", "org/na.me_-1", None),
            ("https://huggingface.co/org/na.me", "org/na.me", None),
            ("https://huggingface.co/org/name/", "org/name", None),
            (" https://hf.co/org/name?not-for-all-audiences=true#use ", "org/name", None),
            ("http://127.0.0.1:8000/org/name/tree/v1", "org/name", "v1"),
            ("https://huggingface.co/org/name/tree/refs%2Fpr%2F1", "org/name", "refs/pr/1"),
            ("https://huggingface.co/org/name/blob/main/config.json", "org/name", "main"),
        ],
    )
    def test_repositories(self, text: str, repo: str, revision: str | None) -> None:
        assert ModelRef.parse(text) == ModelRef(repo=repo, revision=revision)

    @pytest.mark.parametrize(
        "text",
        [
            "https://huggingface.co/datasets/org/name",
            "https://huggingface.co/name",
            "https://huggingface.co/org/name/tree/../../x",
            "ftp://huggingface.co/org/name",
        ],
    )
    def test_other_addresses_are_none(self, text: str) -> None:
        with pytest.raises(HubError):
            ModelRef.parse(text)

    def test_an_existing_folder_wins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "org" / "name").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        assert ModelRef.parse("org/name") == ModelRef(folder=Path("org/name"))
        assert ModelRef.parse("./org/name").name == "name"

    def test_a_folder_is_never_named_by_its_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "model").mkdir()
        monkeypatch.chdir(tmp_path / "model")
        assert ModelRef.parse(".").name == "model"

    @pytest.mark.parametrize(
        "text",
        ["./nothing", "/nothing", "~/nothing-here", "~nobody-of-this-name/x", "a/b/c", "a b", "@v1",
         "org/name?x", "a\0b", "." + "x" * 5000],
    )  # fmt: skip
    def test_what_is_neither(self, text: str) -> None:
        with pytest.raises(RepoNotFound) as caught:
            ModelRef.parse(text)
        assert str(caught.value) == f"{text!r} is neither a folder here nor a repository name"
        assert caught.value.hint == "write org/name, org/name@revision or the path of a folder"

    @pytest.mark.parametrize(
        ("end", "kind", "hint"),
        [
            (
                "datasets/org/prompts",
                "dataset",
                "name a model: org/name, or the address of its page",
            ),
            ("spaces/org/demo", "space", "name a model: org/name, or the address of its page"),
            (
                "collections/org/best-0123",
                "collection",
                "for its models: --collection org/best-0123",
            ),
        ],
    )
    def test_the_page_of_something_else(self, end: str, kind: str, hint: str) -> None:
        address = f"https://huggingface.co/{end}"
        with pytest.raises(RepoNotFound) as caught:
            ModelRef.parse(address)
        assert str(caught.value) == f"{address} is the page of a {kind}, and a model is needed"
        assert caught.value.hint == hint

    @pytest.mark.parametrize(
        ("text", "here", "made"),
        [
            ("org/there", True, True),
            ("there", True, True),
            ("./nothing", True, True),
            ("~/nothing-here", True, True),
            ("nothing", False, True),
            ("org/nothing", False, False),
            ("org/nothing@v1", False, False),
        ],
    )
    def test_what_means_a_folder(
        self, text: str, here: bool, made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "org" / "there").mkdir(parents=True)
        (tmp_path / "there").mkdir()
        monkeypatch.chdir(tmp_path)
        folder = Path(text).expanduser()
        assert local_folder(text) == (folder if here else None)
        assert local_folder(text, new=True) == (folder if made else None)

    @pytest.mark.parametrize("text", ["org--x/name--y", "-org/name", "org/name.git", "x" * 5000])
    def test_names_the_hub_does_not_allow(self, text: str, hub: localhub.Hub) -> None:
        with pytest.raises(RepoNotFound):
            resolve_files(ModelRef.parse(text))

    def test_as_text(self) -> None:
        assert str(ModelRef(repo="org/a", revision="v1")) == "org/a@v1"
        assert str(ModelRef(repo="org/a")) == "org/a"
        assert str(ModelRef(folder=Path("a/b"))) == "a/b"


def test_a_cache_that_others_own_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note for offline use could not be made there, and a plan ended with it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def refuse(number: int) -> None:
        def write(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Path, "write_text", write)

    for number in (errno.EACCES, errno.EROFS):
        refuse(number)
        remember("org/model", None, "0" * 40)
    refuse(errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        remember("org/model", None, "0" * 40)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("plan.yaml", "simmerge-hub merge plan.yaml -o FOLDER"), ("model.safetensors", "the folder")],
)
def test_a_file_is_no_model(
    name: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name would do for a repository, which nobody means."""
    (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RepoNotFound, match=f"^{name} is a file, and a model is a folder") as caught:
        ModelRef.parse(name)
    assert hint in caught.value.hint
