"""A list is worked through in order, by as many threads as asked."""

from threading import Barrier, Lock

import pytest
import torch

from simmerge_hub.merger.work.crew import cores, work_through


def test_each_item_once_and_begun_in_order() -> None:
    names = [str(n) for n in range(50)]
    done: list[str] = []
    work_through(names, done.append, 1)
    assert done == names
    done.clear()
    work_through(names, done.append, 4)
    assert sorted(done) == sorted(names)


def test_as_many_threads_as_asked() -> None:
    """Three that wait for each other: fewer threads would wait forever."""
    barrier = Barrier(3, timeout=20)
    work_through(["a", "b", "c"], lambda _: barrier.wait() and None, 3)
    assert not barrier.broken


def test_after_an_error_nothing_new_is_begun() -> None:
    begun: list[str] = []
    lock = Lock()

    def do(name: str) -> None:
        with lock:
            begun.append(name)
        if name == "2":
            raise ValueError("no")

    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="no"):
        work_through([str(n) for n in range(100)], do, 1)
    assert begun == ["0", "1", "2"]
    assert torch.get_num_threads() == before


def test_torch_has_one_thread_and_no_gradients_meanwhile() -> None:
    seen: list[tuple[int, bool]] = []
    work_through(["a"], lambda _: seen.append((torch.get_num_threads(), torch.is_grad_enabled())))
    assert seen == [(1, False)]
    assert cores() >= 1
