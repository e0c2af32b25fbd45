"""Trees are edited in order, and merged by path."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmerge_hub.localhub.errors import AlreadyExists, EntryNotFound, Refused
from simmerge_hub.localhub.store.history import (
    Commit,
    Put,
    Remove,
    RemoveFolder,
    apply_edits,
    find_conflicts,
    folder_id,
    folders,
    lfs_entry,
    merge_trees,
    new_commit,
    plain_entry,
)

A, B, C = (plain_entry(data, "0" * 64) for data in (b"a", b"b", b"c"))
trees = st.dictionaries(st.sampled_from("uvwxyz"), st.sampled_from([A, B, C]))


def test_edits_apply_in_order() -> None:
    edits = [Put("x", A), Remove("x"), Put("x", B), RemoveFolder("d"), Put("d/new", C)]
    assert apply_edits({"d/old": A, "e": A}, edits) == {"e": A, "x": B, "d/new": C}


@pytest.mark.parametrize(
    "edit", [Remove("none"), Remove("d"), RemoveFolder("none"), RemoveFolder("x")]
)
def test_what_is_not_there_cannot_be_removed(edit: Remove | RemoveFolder) -> None:
    with pytest.raises(EntryNotFound):
        apply_edits({"x": A, "d/y": A}, [edit])


@pytest.mark.parametrize("path", ["x/inside", "d"])
def test_a_path_is_a_file_or_a_folder(path: str) -> None:
    with pytest.raises(Refused, match="file and a folder"):
        apply_edits({"x": A, "d/y": A}, [Put(path, B)])


@given(trees, trees)
def test_merging_into_an_unchanged_tree_gives_theirs(base: dict, theirs: dict) -> None:
    assert merge_trees(base, base, theirs) == theirs
    assert merge_trees(base, theirs, theirs) == theirs


@given(trees, trees, trees)
def test_a_merge_either_conflicts_or_keeps_both_sides(base: dict, ours: dict, theirs: dict) -> None:
    clashes = find_conflicts(base, ours, theirs)
    if clashes:
        with pytest.raises(AlreadyExists):
            merge_trees(base, ours, theirs)
        return
    both = merge_trees(base, ours, theirs)
    for path in {*base, *ours, *theirs}:
        expected = theirs if base.get(path) != theirs.get(path) else ours
        assert both.get(path) == expected.get(path)


def test_a_commit_is_named_by_its_content() -> None:
    commit = new_commit(parent=None, title="t", author="me", files={"x": A})
    assert Commit.decode(commit.encode()) == commit
    assert Commit.decode(commit.encode().replace(b'"t"', b'"u"')).oid != commit.oid


def test_git_agrees_about_file_ids() -> None:
    def git(data: bytes) -> str:
        done = subprocess.run(
            ["git", "hash-object", "--stdin"], input=data, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    assert plain_entry(b"hello\n", "0" * 64).oid == git(b"hello\n")
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'1' * 64}\nsize 5\n".encode()
    )
    entry = lfs_entry("1" * 64, 5)
    assert (entry.oid, entry.pointer_size, entry.etag) == (git(pointer), len(pointer), "1" * 64)


def test_folders_and_their_ids() -> None:
    files = {"a/b/c": A, "a/d": B, "e": C}
    assert folders(files) == {"a", "a/b"}
    assert folder_id(files, "a") != folder_id({**files, "a/d": C}, "a")
    assert folder_id(files, "a") == folder_id({**files, "e": A}, "a")
