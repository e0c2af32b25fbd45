"""How much room signatures take, and which of them go first."""

import os
import stat
import time
from pathlib import Path

import pytest

from simmerge_hub.errors import SignatureError
from simmerge_hub.signatures.signing import cache


@pytest.fixture(autouse=True)
def _fresh(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_in_use", set())
    monkeypatch.delenv(cache.LIMIT_VARIABLE, raising=False)


def store_file(name: str, size: int, age: float) -> Path:
    """A cached file of some bytes, last used so many seconds ago."""
    path = cache.structure_path(name, 10)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_models_settings_and_probes_have_files_of_their_own() -> None:
    paths = {
        cache.structure_path("a", 10), cache.structure_path("b", 10), cache.structure_path("a", 9),
        cache.sketch_path("a", "p", "float32"), cache.sketch_path("a", "q", "float32"),
        cache.sketch_path("a", "p", "bfloat16"),
    }  # fmt: skip
    assert len(paths) == 6


def test_what_was_used_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    old, older, new = (
        store_file("old", 100, 50),
        store_file("older", 100, 90),
        store_file("new", 100, 10),
    )
    monkeypatch.setenv(cache.LIMIT_VARIABLE, "250")
    cache.trim()
    assert [p.exists() for p in (older, old, new)] == [False, True, True]
    monkeypatch.setenv(cache.LIMIT_VARIABLE, "100")
    cache.trim()
    assert [p.exists() for p in (old, new)] == [False, True]


def test_what_this_process_uses_is_never_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    used, other = cache.use(store_file("used", 100, 90)), store_file("other", 100, 50)
    monkeypatch.setenv(cache.LIMIT_VARIABLE, "0")
    cache.trim()
    assert used.exists()
    assert not other.exists()


def test_reading_counts_as_use(monkeypatch: pytest.MonkeyPatch) -> None:
    read, other = store_file("read", 100, 90), store_file("other", 100, 50)
    cache.use(read)
    monkeypatch.setattr(cache, "_in_use", set())  # another process
    monkeypatch.setenv(cache.LIMIT_VARIABLE, "100")
    cache.trim()
    assert read.exists()
    assert not other.exists()


def test_what_another_process_writes_now_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    now, abandoned = (store_file(name, 100, age) for name, age in (("a", 5), ("b", 2 * 24 * 3600)))
    now, abandoned = (p.rename(p.with_name(f".{p.name}.part")) for p in (now, abandoned))
    monkeypatch.setenv(cache.LIMIT_VARIABLE, "0")
    cache.trim()
    assert now.exists()
    assert not abandoned.exists()


@pytest.mark.parametrize("stated", ["10GB", "10G", "-1", "", "1e9", " 1"])
@pytest.mark.parametrize("when", ["trimmed", "read", "looked for"])
def test_a_limit_that_is_no_number(stated: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told where all is cached already, and before anything is computed, too."""
    there = store_file("there", 100, 0)
    monkeypatch.setenv(cache.LIMIT_VARIABLE, stated)
    path = there if when == "read" else there.with_name("missing")
    with pytest.raises(SignatureError) as caught:
        cache.trim() if when == "trimmed" else cache.read_if_sound(path, Path.read_bytes)
    assert str(caught.value) == f"SIMMERGE_CACHE_LIMIT is {stated!r}, which is no number of bytes"
    assert caught.value.hint == "set it to a whole number, like 10000000000, or unset it"


def test_ten_gigabytes_by_default() -> None:
    assert cache.limit() == 10_000_000_000


def test_the_secret_is_one_for_this_machine_and_its_owner(assets: Path) -> None:
    first = cache.secret()
    assert len(first) == 32
    assert cache.secret() == first
    (file,) = assets.rglob("key/key")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
