"""Names that could leave the storage folder are refused before they reach it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmerge_hub.localhub import names
from simmerge_hub.localhub.errors import Refused

ESCAPES = [
    "..",
    "../x",
    "a/../b",
    "/etc/passwd",
    "a//b",
    "./a",
    "a/./b",
    "a\\b",
    "a\0b",
    "",
    "a\nb",
    "a/.git/b",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_file_paths_that_escape_are_refused(path: str) -> None:
    with pytest.raises(Refused):
        names.file_path(path)


@pytest.mark.parametrize(
    "path", ["a", "a/b.txt", ".gitattributes", "a b", "é/ü.json", "a..b", "..a"]
)
def test_ordinary_file_paths_pass_unchanged(path: str) -> None:
    assert names.file_path(path) == path


def test_a_trailing_slash_names_the_folder() -> None:
    assert names.file_path("a/b/") == "a/b"


@pytest.mark.parametrize(
    "revision", ["..", "a/../b", "/main", "main/", "a//b", "-x", "", "a b", "a\0", "x" * 300]
)
def test_bad_revisions_are_refused(revision: str) -> None:
    with pytest.raises(Refused):
        names.revision(revision)


@pytest.mark.parametrize("revision", ["main", "refs/pr/1", "feature/x", "v1.0", "a" * 40])
def test_ordinary_revisions_pass_unchanged(revision: str) -> None:
    assert names.revision(revision) == revision


@pytest.mark.parametrize("branch", ["refs/pr/5", "refs/heads/x", "a" * 40])
def test_a_new_branch_cannot_shadow_a_reference_or_a_commit(branch: str) -> None:
    with pytest.raises(Refused):
        names.branch(branch)


@pytest.mark.parametrize(
    "pair", [("..", "x"), ("x", ".."), ("datasets", "x"), ("x", "y.git"), ("a/b", "c"), ("", "x")]
)
def test_bad_repository_names_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(Refused):
        names.repo_id(*pair)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_accepted_name_is_two_plain_segments(namespace: str, name: str) -> None:
    try:
        accepted = names.repo_id(namespace, name)
    except Refused:
        return
    assert accepted.split("/") == [namespace, name]
    assert not {namespace, name} & {"", ".", ".."}


@given(st.text(alphabet="ab./\\~\0é ", max_size=20))
def test_any_accepted_path_stays_inside(text: str) -> None:
    try:
        accepted = names.file_path(text)
    except Refused:
        return
    assert accepted == text.rstrip("/")
    assert not set(accepted.split("/")) & {"", ".", ".."}


def test_unknown_repository_types_are_refused() -> None:
    assert names.kind_of(None) == "models"
    assert names.kind_of("dataset") == "datasets"
    with pytest.raises(Refused, match="model, dataset, space"):
        names.kind_of("bucket")
