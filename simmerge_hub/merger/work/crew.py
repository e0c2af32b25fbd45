"""Work through a list with a few threads, in order, each item by one thread alone."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import TypeVar

import torch

T = TypeVar("T")


def cores() -> int:
    """The processors this process may use, where the system tells; else all of them."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def work_through(items: Sequence[T], do: Callable[[T], None], threads: int | None = None) -> None:
    """Call `do` with every item.

    One thread's reading and writing overlaps with another's arithmetic, and what is in flight is
    bounded by the number of threads. After an error no new item is begun.

    Args:
        items: begun in this order.
        do: called from the threads; torch itself uses one thread meanwhile.
        threads: all cores by default.
    """
    waiting, lock, stop = iter(items), Lock(), Event()

    def work() -> None:
        with torch.inference_mode():
            while not stop.is_set():
                with lock:
                    item = next(waiting, None)
                if item is None:
                    return
                do(item)

    def guard() -> None:
        try:
            work()
        except BaseException:
            stop.set()
            raise

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    count = threads or cores()
    try:
        with ThreadPoolExecutor(count, thread_name_prefix="merge") as pool:
            running = [pool.submit(guard) for _ in range(count)]
            try:
                for each in running:
                    each.result()
            finally:
                stop.set()
    finally:
        torch.set_num_threads(before)
