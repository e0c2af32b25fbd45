"""Shards on their way: never more than two, none before it is whole, whoever writes when."""

import random
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from time import sleep

import pytest
import torch

from simmerge_hub.weights.writing import streamed
from simmerge_hub.weights.writing.partial import Partial, partial_folder
from simmerge_hub.weights.writing.shards import Shard, plan_shards, written_digests
from simmerge_hub.weights.writing.streamed import AT_ONCE, Conveyor, Order, Ship, stream_shards

ENTRIES: Mapping[str, tuple[str, tuple[int, ...]]] = {f"t{i}": ("F32", (4, 8)) for i in range(24)}
SHARDS = plan_shards(ENTRIES, 3 * 128, {})


def rows(name: str) -> torch.Tensor:
    return torch.full((4, 8), float(name[1:]))


def make(conveyor: Conveyor, name: str) -> None:
    conveyor.write(name, 0, rows(name)[:2])
    conveyor.write(name, 2, rows(name)[2:])
    conveyor.finish(name)


class Store:
    """Where shards are sent."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, dict[str, bytes]()

    def __call__(self, shard: Shard, path: Path) -> None:
        assert len(list(self.folder.glob("*.safetensors"))) <= AT_ONCE
        self.files[shard.file] = path.read_bytes()

    def check(self) -> None:
        for shard in SHARDS:
            data = self.files[shard.file]
            assert len(data) == shard.size
            for name, start, end in shard.spans:
                assert data[start:end] == rows(name).numpy().tobytes()


@pytest.mark.parametrize("threads", [1, 2, 5, 16])
def test_any_number_of_threads_in_the_order_of_the_shards(threads: int, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with (
        stream_shards(tmp_path, SHARDS, sent=(), done=(), ship=store) as conveyor,
        ThreadPoolExecutor(threads) as pool,
    ):
        for each in [pool.submit(make, conveyor, name) for name in ENTRIES]:
            each.result(30)
    store.check()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("order", ["layers", "layers read again"])
@pytest.mark.parametrize("seed", range(5))
def test_any_order_where_layers_are_run(order: Order, seed: int, tmp_path: Path) -> None:
    names = list(ENTRIES)
    random.Random(seed).shuffle(names)
    store = Store(tmp_path)
    with stream_shards(tmp_path, SHARDS, sent=(), done=(), ship=store, order=order) as conveyor:
        for place, name in enumerate(names):
            make(conveyor, name)
            early = conveyor.waiting(name)
            assert early is None or torch.equal(early, rows(name))
            if place % 5 == 0:
                conveyor.pass_on()
            assert len(list(tmp_path.glob("*.safetensors"))) <= AT_ONCE
    store.check()


@pytest.mark.parametrize("seed", range(4))
def test_layers_made_by_several_threads(seed: int, tmp_path: Path) -> None:
    """A tensor that waits in memory is stored when it is whole, and not before."""
    names = list(ENTRIES)
    random.Random(seed).shuffle(names)
    store = Store(tmp_path)

    def make_slowly(name: str) -> None:
        for row in range(4):
            conveyor.write(name, row, rows(name)[row : row + 1])
            sleep(0.001 * (row == 1))
        conveyor.finish(name)

    with (
        stream_shards(tmp_path, SHARDS, sent=(), done=(), ship=store, order="layers") as conveyor,
        ThreadPoolExecutor(6) as pool,
    ):
        for layer in range(0, len(names), 6):
            list(pool.map(make_slowly, names[layer : layer + 6]))
            conveyor.pass_on()
    store.check()


def test_what_was_done_before_is_not_done_again(tmp_path: Path) -> None:
    def break_off(shard: Shard, path: Path) -> None:
        if shard is SHARDS[2]:
            raise ConnectionError
        store(shard, path)

    store, done = Store(tmp_path), list[str]()
    with (
        pytest.raises(ConnectionError),
        stream_shards(tmp_path, SHARDS, sent=(), done=(), ship=break_off) as conveyor,
    ):
        for name in ENTRIES:
            make(conveyor, name)
            done.append(name)
    assert list(store.files) == [SHARDS[0].file, SHARDS[1].file]
    with stream_shards(tmp_path, SHARDS, sent=set(store.files), done=done, ship=store) as conveyor:
        assert conveyor.done >= {*SHARDS[0].starts, *SHARDS[1].starts, *SHARDS[2].starts}
        for name in [name for name in ENTRIES if name not in conveyor.done]:
            make(conveyor, name)
    store.check()


def test_a_failure_reaches_whoever_waits(tmp_path: Path) -> None:
    """A thread that waits for room hears that there will be none."""
    begun = Event()

    def fail(shard: Shard, path: Path) -> None:
        begun.wait(10)
        raise ConnectionError(shard.file)

    with (
        pytest.raises(ConnectionError, match="00001"),
        stream_shards(tmp_path, SHARDS, sent=(), done=(), ship=fail) as conveyor,
        ThreadPoolExecutor(2) as pool,
    ):
        for name in list(SHARDS[0].starts):
            make(conveyor, name)
        late = pool.submit(make, conveyor, "t23")
        begun.set()
        late.result(30)


def test_shards_that_are_too_many_are_deleted_first(tmp_path: Path) -> None:
    for shard in SHARDS:
        (tmp_path / shard.file).write_bytes(b"x" * shard.size)
    store = Store(tmp_path)
    with stream_shards(
        tmp_path, SHARDS, sent={SHARDS[1].file}, done=list(ENTRIES), ship=store
    ) as conveyor:
        assert conveyor.done == {*SHARDS[0].starts, *SHARDS[1].starts}
        for name in list(ENTRIES):
            if name not in conveyor.done:
                make(conveyor, name)
    assert SHARDS[1].file not in store.files
    assert len(store.files) == len(SHARDS) - 1


def test_only_what_is_in_its_file_is_journalled(tmp_path: Path) -> None:
    """A shard may be begun while a tensor of it waits in memory: until it is stored, its place
    holds zeros, and their digest must not become what the next run believes."""

    def break_off(shard: Shard, path: Path) -> None:
        if shard is SHARDS[1]:
            raise ConnectionError
        store(shard, path)

    def folder() -> AbstractContextManager[Partial]:
        digest = written_digests(SHARDS)
        return partial_folder(tmp_path / "out", identity="x", size=1, digest=digest, keep=False)

    store = Store(tmp_path / "out.partial")
    with (
        pytest.raises(ConnectionError),
        folder() as partial,
        stream_shards(
            partial.folder, SHARDS, sent=(), done=(), ship=break_off, order="layers",
            stored=partial.finish,
        ) as conveyor,
    ):  # fmt: skip
        make(conveyor, "t1")
        make(conveyor, "t3")
        conveyor.write("t6", 0, rows("t6")[:2])  # of shard 2, for which there is no room
        make(conveyor, "t0")
        make(conveyor, "t2")  # shard 0 is whole, and sent
        while SHARDS[0].file not in store.files or (store.folder / SHARDS[0].file).exists():
            sleep(0.001)
        conveyor.write("t7", 0, rows("t7"))  # there is room: another thread begins shard 2
        conveyor.write("t6", 2, rows("t6")[2:])
        conveyor.write("t4", 0, rows("t4"))
        conveyor.write("t5", 0, rows("t5"))
        conveyor.finish("t4")
        conveyor.finish("t5")  # shard 1 is whole, and its sending fails
        while not conveyor._sending[-1].done():
            sleep(0.001)
        conveyor.finish("t6")
    with folder() as partial:
        assert "t6" not in partial.done
        with stream_shards(
            partial.folder, SHARDS, sent=set(store.files), done=partial.done, ship=store,
            order="layers", stored=partial.finish,
        ) as conveyor:  # fmt: skip
            for name in [name for name in ENTRIES if name not in conveyor.done]:
                make(conveyor, name)
    store.check()


@pytest.mark.parametrize("order", ["layers", "layers read again"])
@pytest.mark.parametrize("keeps", [True, False])
def test_work_begun_anew_has_the_room_of_work_begun(
    order: Order, keeps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards far from where the work goes on do not take the place of those it begins with."""
    monkeypatch.setattr(streamed, "LARGEST_WAITING", 5 * 128)
    done = list[str]()

    def run(ship: Ship, sent: Collection[str], before: Collection[str]) -> None:
        with stream_shards(
            tmp_path, SHARDS, sent=sent, done=before, ship=ship, order=order, stored=done.append
        ) as conveyor:
            for name in [name for name in ENTRIES if name not in conveyor.done]:
                make(conveyor, name)
                if int(name[1:]) % 3 == 2:
                    conveyor.pass_on()

    def break_off(shard: Shard, path: Path) -> None:
        if shard is SHARDS[5]:
            sleep(0.1)
            raise ConnectionError
        store(shard, path)

    store = Store(tmp_path)
    with pytest.raises(ConnectionError):
        run(break_off, (), ())
    assert {path.name for path in tmp_path.iterdir()} >= {SHARDS[5].file}
    run(store, *((set(store.files), list(done)) if keeps else ((), ())))
    store.check()
