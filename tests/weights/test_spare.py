"""One finished folder in the cache: taken over by whoever makes the same, and never believed."""

import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from simmerge_hub.weights.writing import spare
from simmerge_hub.weights.writing.partial import partial_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(spare, "assets_folder", lambda *_: folder)
    yield folder
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def digest(folder: Path, name: str) -> str:
    """Tensors are files here."""
    path = folder / name
    return sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def make(output: Path, *names: str, identity: str = "x", kept: bool = False) -> frozenset[str]:
    """Write what is left of these tensors; what was there already."""
    with partial_folder(output, identity=identity, size=1, digest=digest, spare=kept) as part:
        for name in set(names) - part.done:
            (part.folder / name).write_text(name)
            part.finish(name)
        if part.notes is None:
            part.conclude(["nothing to say"])
        return part.done


def make_and_keep(output: Path, *names: str, name: str = "first") -> bool:
    make(output, *names, kept=True)
    return spare.keep(output, name)


def test_the_same_work_takes_it_over_once(tmp_path: Path, cache: Path) -> None:
    assert make_and_keep(tmp_path / "tried", "a", "b")
    assert not (tmp_path / "tried").exists()
    assert make(tmp_path / "out", "a", "b") == {"a", "b"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]
    assert not list(cache.iterdir())
    assert make(tmp_path / "again", "a", "b") == frozenset()


def test_what_it_ended_with_is_told_again(tmp_path: Path) -> None:
    make_and_keep(tmp_path / "tried", "a")
    with partial_folder(tmp_path / "out", identity="x", size=1, digest=digest) as part:
        assert part.notes == ("nothing to say",)


def test_other_work_leaves_it(tmp_path: Path, cache: Path) -> None:
    make_and_keep(tmp_path / "tried", "a")
    assert make(tmp_path / "out", "a", identity="y") == frozenset()
    assert [path.name for path in cache.iterdir()] == ["first"]


def test_damage_in_the_cache_is_made_anew(tmp_path: Path, cache: Path) -> None:
    make_and_keep(tmp_path / "tried", "a", "b")
    (cache / "first" / "a").write_text("z")
    assert make(tmp_path / "out", "a", "b") == {"b"}
    assert (tmp_path / "out" / "a").read_text() == "a"


def test_a_run_that_was_stopped_comes_before_it(tmp_path: Path, cache: Path) -> None:
    make_and_keep(tmp_path / "tried", "a", "b")
    with (
        pytest.raises(KeyboardInterrupt),
        partial_folder(tmp_path / "out", identity="y", size=1, digest=digest),
    ):
        raise KeyboardInterrupt
    assert make(tmp_path / "out", "a", identity="y") == frozenset()
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_cannot_be_used_is_no_error(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: str) -> Path:
        raise ValueError("Corrupted assets folder")

    monkeypatch.setattr(spare, "assets_folder", refuse)
    make(tmp_path / "tried", "a", kept=True)
    assert not spare.keep(tmp_path / "tried", "first")
    assert (tmp_path / "tried" / "a").exists()
    assert make(tmp_path / "out", "a") == frozenset()


def test_one_is_kept_and_only_if_it_is_wanted(tmp_path: Path, cache: Path) -> None:
    make_and_keep(tmp_path / "one", "a")
    make_and_keep(tmp_path / "two", "a", name="second")
    assert [path.name for path in cache.iterdir()] == ["second"]
    spare.drop(but="second")
    assert [path.name for path in cache.iterdir()] == ["second"]
    spare.drop(but="first")
    assert not list(cache.iterdir())


def test_on_another_disk_only_where_there_is_room(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "one", "a", kept=True)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(spare, "_device", lambda path: path == cache)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
        assert not spare.keep(tmp_path / "one", "first")
    assert (tmp_path / "one" / "a").read_text() == "a"
    assert spare.keep(tmp_path / "one", "first")
    assert (cache / "first" / "a").read_text() == "a"


def test_what_cannot_be_kept_is_no_error(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    make(tmp_path / "one", "a", kept=True)
    monkeypatch.setattr(shutil, "move", fill_disk)
    assert not spare.keep(tmp_path / "one", "first")
    assert not list(cache.iterdir())


def test_what_cannot_be_taken_over_is_made_anew(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_and_keep(tmp_path / "tried", "a")
    with monkeypatch.context() as patch:  # gone between two looks
        patch.setattr(
            spare,
            "_has_room",
            lambda place, folder: folder.stat() and shutil.rmtree(folder) is None,
        )
        assert make(tmp_path / "out", "a") == frozenset()
    make_and_keep(tmp_path / "again", "a", name="second")
    move, moved = shutil.move, list[str]()

    def fill_disk(source: Path, target: Path) -> object:
        if moved:
            raise OSError(28, "No space left on device")
        moved.append(target.name)
        return move(source, target)

    monkeypatch.setattr(shutil, "move", fill_disk)
    assert make(tmp_path / "full", "a") == frozenset()
    assert not list(cache.iterdir())
