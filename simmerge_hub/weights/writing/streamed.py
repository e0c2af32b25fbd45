"""Shards that are sent on as they are made: at most two lie on the disk, each until it is sent.

One is filled while the one before is sent. Where tensors come in the order of the shards, a shard
is begun when all but one of those before it are gone, so threads never wait for each other. Where
they come layer by layer, what has no room yet is kept in memory until it has.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Lock
from typing import Literal

import torch
from torch import Tensor

from simmerge_hub.errors import OutputError
from simmerge_hub.weights.writing.shards import Shard, begin_shard, write_rows

AT_ONCE = 2
"""Shards that lie on the disk at most."""
LARGEST_WAITING = 2**31
"""Bytes of tensors that are kept in memory until their shard may be begun."""
Ship = Callable[[Shard, Path], None]
"""Sends a finished shard; returns when it is not needed here any more."""
Stored = Callable[[str], None]
"""Is told of a tensor once all its bytes are in its file, and before that is sent."""
Order = Literal["shards", "layers", "layers read again"]
"""How tensors come: in the order of the shards; layer by layer; and each layer is read once more
after it is written, until `pass_on`."""


class Conveyor:
    """Where tensors are written; see `stream_shards`. `done` are those that need not be made."""

    def __init__(
        self, folder: Path, shards: Sequence[Shard], sent: Collection[str], done: Collection[str],
        ship: Ship, order: Order, stored: Stored,
    ) -> None:  # fmt: skip
        self._folder, self._shards, self._ship, self._order = folder, shards, ship, order
        self._stored = stored
        self._number = {name: i for i, shard in enumerate(shards) for name in shard.starts}
        self._ends = {name: (start, end) for s in shards for name, start, end in s.spans}
        gone = {i for i, shard in enumerate(shards) if shard.file in sent}
        self._gone, self._passed = gone, set(gone)
        self._waiting: dict[str, list[tuple[int, Tensor]]] = {}
        self._whole: set[str] = set()
        self._change, self._storing = Condition(), Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="send")
        self._sending: list[Future[None]] = []
        kept = self._clear(done)
        self._handles = {i: begin_shard(folder / shards[i].file, shards[i]) for i in kept}
        self.done = frozenset(n for n in self._number if self._number[n] in gone) | frozenset(
            name for name in done if self._number[name] in kept
        )
        self._left = [set(shard.starts) - self.done for shard in shards]

    def _clear(self, done: Collection[str]) -> set[int]:
        """Delete shards that are not to be continued now; which are kept.

        Only the next two that are not gone, and of them those that hold something: others would
        take the places of those that the work begins with.
        """
        there = {i for i, s in enumerate(self._shards) if (self._folder / s.file).is_file()}
        left = [i for i in range(len(self._shards)) if i not in self._gone][:AT_ONCE]
        if self._order == "shards":
            left = [i for i in left if i < self._first() + AT_ONCE]
        kept = there.intersection(left, {self._number[name] for name in done})
        for number in there - kept:
            (self._folder / self._shards[number].file).unlink()
        return kept

    def _first(self) -> int:
        """The first shard that is not gone."""
        count = len(self._shards)
        return next((i for i in range(count) if i not in self._gone), count)

    def write(self, name: str, low: int, rows: Tensor) -> None:
        """Store rows of a tensor; waits while too many shards lie on the disk.

        Raises:
            OutputError: too much would have to wait in memory.
        """
        handle = None if name in self._waiting else self._handle(self._number[name])
        if handle is None:
            self._keep(name, low, rows)
        else:
            write_rows(handle, name, rows, low, *self._ends[name])

    def _handle(self, number: int) -> int | None:
        """The file of a shard; None where nothing that lies on the disk can be finished now."""
        with self._change:
            while number not in self._handles and not self._has_room(number):
                self._raise_failure()
                if self._order != "shards" and not self._passed - self._gone:
                    return None
                self._change.wait(1)
            if number not in self._handles:
                path = self._folder / self._shards[number].file
                self._handles[number] = begin_shard(path, self._shards[number])
            return self._handles[number]

    def _has_room(self, number: int) -> bool:
        if self._order == "shards":
            return number < self._first() + AT_ONCE
        return len(self._handles.keys() | (self._passed - self._gone)) < AT_ONCE

    def _keep(self, name: str, low: int, rows: Tensor) -> None:
        with self._change:
            self._waiting.setdefault(name, []).append((low, rows.clone()))
            held = sum(t.nbytes for some in self._waiting.values() for _, t in some)
        if held > LARGEST_WAITING:
            raise OutputError(
                f"this merge cannot be sent while it is made: its layers are run in order, and "
                f"{name} lies in a shard far from those that are begun",
                hint="merge into a folder and push that: --push without --stream",
            )

    def waiting(self, name: str) -> Tensor | None:
        """A tensor that is made and lies in no shard yet, as rows; None if there is none."""
        with self._change:
            some = self._waiting.get(name)
            return torch.cat([rows for _, rows in sorted(some, key=_low)]) if some else None

    def finish(self, name: str) -> None:
        """A tensor is written; the last of a shard sends it, unless it is read once more."""
        with self._change:
            waits = name in self._waiting
            if waits:
                self._whole.add(name)
        if not waits:
            self._note(name)
        if self._order != "layers read again":
            self.pass_on()

    def pass_on(self) -> None:
        """Send what is finished, and store what waits; nothing of it is read here any more."""
        self._submit()
        if not self._whole:
            return
        with self._storing:  # one thread alone: none opens a shard that another has finished
            for name in sorted(self._whole):
                handle = self._handle(self._number[name])
                if handle is not None:
                    self._store(name, handle)
        self._submit()

    def _store(self, name: str, handle: int) -> None:
        """Write a whole tensor that waited."""
        with self._change:
            for low, rows in self._waiting.pop(name):
                write_rows(handle, name, rows, low, *self._ends[name])
            self._whole.discard(name)
        self._note(name)

    def _note(self, name: str) -> None:
        """Say that a tensor is in its file, which nobody sends before."""
        self._stored(name)
        with self._change:
            self._left[self._number[name]].discard(name)

    def _submit(self) -> None:
        self._raise_failure()
        with self._change:
            for number, left in enumerate(self._left):
                if not left and number not in self._passed:
                    self._passed.add(number)
                    self._sending.append(self._pool.submit(self._send, number))

    def _send(self, number: int) -> None:
        self._raise_failure()
        shard = self._shards[number]
        path = self._folder / shard.file
        with self._change:
            handle = self._handles.pop(number, None)
        if handle is not None:
            os.close(handle)
        if not path.is_file():  # it has no tensor with data, or was finished by an earlier run
            os.close(begin_shard(path, shard))
        self._ship(shard, path)
        path.unlink()
        with self._change:
            self._gone.add(number)
            self._change.notify_all()

    def _raise_failure(self) -> None:
        for each in self._sending:
            if each.done() and (error := each.exception()) is not None:
                raise error

    def wait(self) -> None:
        """Until all that is finished is sent."""
        while True:
            self.pass_on()
            for each in self._sending:
                each.result()
            if not self._waiting:
                return

    def close(self) -> None:
        """Give back threads and files; what is being sent is waited for."""
        self._pool.shutdown(cancel_futures=True)
        for handle in self._handles.values():
            with suppress(OSError):
                os.close(handle)


@contextmanager
def stream_shards(
    folder: Path,
    shards: Sequence[Shard],
    *,
    sent: Collection[str],
    done: Collection[str],
    ship: Ship,
    order: Order = "shards",
    stored: Stored = lambda _: None,
) -> Iterator[Conveyor]:
    """Make shards in a folder that are sent as soon as they are finished, then deleted.

    Args:
        folder: where they lie meanwhile.
        shards: all of them, in the order in which tensors are begun.
        sent: the files that are sent already.
        done: tensors that an earlier run finished in the folder.
        ship: sends one; one at a time, in a thread of its own. What it raises ends the writing.
        order: in which the tensors come.
        stored: told of every tensor once its bytes are in its file: what waits in memory is not.
    """
    conveyor = Conveyor(folder, shards, sent, done, ship, order, stored)
    try:
        conveyor.pass_on()  # an earlier run may have finished one and not sent it
        yield conveyor
        conveyor.wait()
    finally:
        conveyor.close()


def _low(block: tuple[int, Tensor]) -> int:
    return block[0]
