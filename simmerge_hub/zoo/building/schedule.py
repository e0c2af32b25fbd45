"""Work in an order that its origins allow, in this process or in several at a time.

Knows nothing about models: names, what each follows from, and a function.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any


def in_order(
    origins: Mapping[str, str | None],
    work: Callable[[str, Any], Any],
    *,
    processes: int,
    given: Callable[[str], Any],
    done: Callable[[str, Any], None],
) -> None:
    """Do `work(name, given(name))` for every name after its origin was done.

    Args:
        origins: name -> the name it follows from; one that is not among the names is there already.
        work: picklable, as are what it gets and returns, where `processes` is more than 1.
        processes: how many names at a time. With 1, all happens here, in the order of `origins`.
        given: called here just before the work on a name starts.
        done: called here with the name and what `work` returned.
    """
    if processes == 1:
        for name in origins:
            done(name, work(name, given(name)))
        return
    waiting, finished = dict(origins), set[str]()
    running: dict[Future[Any], str] = {}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        while waiting or running:
            ready = (
                n for n, o in waiting.items() if o is None or o in finished or o not in origins
            )
            while len(running) < processes and (name := next(ready, None)) is not None:
                running[pool.submit(work, name, given(name))] = name
            for name in running.values():
                waiting.pop(name, None)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                done(name, future.result())
                finished.add(name)
