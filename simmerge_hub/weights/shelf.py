"""The weight files of one checkpoint: opened when first used, remote ones fetched one ahead of use.

A file is closed when every tensor in it is done; with `evict`, one that was downloaded for this is
then deleted from the cache, so a merge needs disk for two shards of a model, not for all.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from simmerge_hub.hub.files.cached import Fetched, discard, fetch
from simmerge_hub.hub.resolve import Checkpoint


class Shelf:
    """File descriptors of a checkpoint's files, by file name. Used as a context; thread-safe."""

    def __init__(self, checkpoint: Checkpoint, tensors: Iterable[str], *, evict: bool) -> None:
        """`tensors` are those that will be read and returned once each, in this order."""
        self._checkpoint = checkpoint
        self._evict = evict
        self._left = Counter(file for name in tensors for file in self._files(name))
        self._order = list(self._left)
        self._handles: dict[str, int] = {}
        self._fetching: dict[str, Future[Fetched]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fetch")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for file in list(self._handles):
            self._close(file)

    def handle(self, file: str) -> int:
        """The descriptor of a file; waits for its download, and starts that of the next."""
        with self._lock:
            if file not in self._handles:
                path = self._fetch(file).result().path
                self._handles[file] = os.open(path, os.O_RDONLY)
                after = self._order[self._order.index(file) + 1 :]
                for following in after[:1]:
                    self._fetch(following)
            return self._handles[file]

    def release(self, name: str) -> None:
        """A tensor is not needed any more."""
        with self._lock:
            for file in self._files(name):
                self._left[file] -= 1
                if not self._left[file]:
                    self._close(file)

    def _files(self, name: str) -> list[str]:
        """The files of a tensor and its scale."""
        header = self._checkpoint.tensors[name]
        return [header.file, *([header.scale.file] if header.scale else [])]

    def _fetch(self, file: str) -> Future[Fetched]:
        if file not in self._fetching:
            self._fetching[file] = self._pool.submit(fetch, self._checkpoint.weights, file)
        return self._fetching[file]

    def _close(self, file: str) -> None:
        handle = self._handles.pop(file, None)
        if handle is None:
            return
        os.close(handle)
        fetched = self._fetching[file].result()
        if self._evict and fetched.new:
            discard(fetched)
