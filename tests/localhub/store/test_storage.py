"""A storage folder: one owner, no leftovers, and damage that is found."""

import json
from pathlib import Path

import pytest

from simmerge_hub.localhub.errors import AlreadyExists, LocalhubError, Refused, RepoNotFound
from simmerge_hub.localhub.store import history, storage
from simmerge_hub.localhub.store.history import Commit
from simmerge_hub.localhub.store.repositories import Repository


@pytest.fixture
def parts(tmp_path: Path) -> storage.Storage:
    return storage.prepare(tmp_path)


def new(parts: storage.Storage, name: str = "org/x", data: bytes = b"content") -> Repository:
    files = {"a": history.plain_entry(data, parts.blobs.add(data))}
    first = history.new_commit(parent=None, title="first", author="me", files=files)
    repository = Repository(
        kind="models", id=name, created_at=history.now(), branches={"main": first.oid}
    )
    parts.repositories.create(repository, first)
    return repository


def head(parts: storage.Storage, repository: Repository) -> Commit:
    return parts.repositories.at(repository, "main")


def test_an_intact_folder_has_no_problems(parts: storage.Storage, tmp_path: Path) -> None:
    new(parts)
    assert storage.verify(tmp_path) == []


def test_a_missing_blob_is_found(parts: storage.Storage, tmp_path: Path) -> None:
    entry = head(parts, new(parts)).files["a"]
    parts.blobs.path(entry.sha256).unlink()
    (problem,) = storage.verify(tmp_path)
    assert problem.startswith("models/org/x: a at ") and "has None bytes, expected 7" in problem


def test_a_changed_blob_is_found(parts: storage.Storage, tmp_path: Path) -> None:
    entry = head(parts, new(parts)).files["a"]
    parts.blobs.path(entry.sha256).write_bytes(b"CONTENT")
    assert ["is damaged" in problem for problem in storage.verify(tmp_path)] == [True]


def test_a_missing_and_a_changed_commit_are_found(parts: storage.Storage, tmp_path: Path) -> None:
    gone, changed = new(parts, "org/gone"), new(parts, "org/changed")
    folder = tmp_path / "repos/models"
    (folder / f"org/gone/commits/{gone.branches['main']}.json").unlink()
    path = folder / f"org/changed/commits/{changed.branches['main']}.json"
    path.write_text(path.read_text().replace("first", "worst"))
    changed_problem, gone_problem = storage.verify(tmp_path)
    assert "org/changed" in changed_problem and "is damaged" in changed_problem
    assert "org/gone" in gone_problem and "cannot be read" in gone_problem


def test_starting_drops_what_a_crash_left(parts: storage.Storage, tmp_path: Path) -> None:
    new(parts)
    (tmp_path / "staging/half").write_bytes(b"half a blo")
    (tmp_path / "xorbs" / ("a" * 64)).write_bytes(b"chunks")
    storage.prepare(tmp_path)
    assert list((tmp_path / "staging").iterdir()) == list((tmp_path / "xorbs").iterdir()) == []
    assert storage.verify(tmp_path) == []


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    with storage.claim(tmp_path), pytest.raises(LocalhubError, match="another localhub"):
        storage.claim(tmp_path)
    storage.claim(tmp_path).close()


def test_a_blob_that_is_not_what_was_promised_leaves_nothing(
    parts: storage.Storage, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="expected"), parts.blobs.receive() as incoming:
        incoming.write(b"other")
        incoming.keep(sha256="0" * 64)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_failed_change_changes_nothing(parts: storage.Storage, tmp_path: Path) -> None:
    repository = new(parts)
    before = (tmp_path / "repos/models/org/x/repository.json").read_bytes()

    def failing(_: Repository) -> Repository:
        raise AlreadyExists("no")

    with pytest.raises(AlreadyExists):
        parts.repositories.change("models", repository.id, failing)
    assert (tmp_path / "repos/models/org/x/repository.json").read_bytes() == before


def test_a_repository_survives_being_written_and_read(
    parts: storage.Storage, tmp_path: Path
) -> None:
    repository = new(parts)
    assert parts.repositories.get("models", "org/x") == repository
    path = tmp_path / "repos/models/org/x/repository.json"
    assert json.loads(path.read_text())["branches"] == repository.branches


def test_deleting_removes_the_folder(parts: storage.Storage, tmp_path: Path) -> None:
    new(parts)
    parts.repositories.delete("models", "org/x")
    assert not (tmp_path / "repos/models/org/x").exists()
    with pytest.raises(RepoNotFound):
        parts.repositories.get("models", "org/x")
    new(parts)


def test_a_short_commit_id_must_be_unambiguous_and_long_enough(parts: storage.Storage) -> None:
    repository = new(parts)
    oid = repository.branches["main"]
    assert parts.repositories.at(repository, oid[:7]).oid == oid
    with pytest.raises(Refused):
        parts.repositories.at(repository, oid[:6])
