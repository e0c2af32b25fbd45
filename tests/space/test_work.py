"""Work in a thread: what it says is seen, it can be stopped, and its errors come through."""

import threading

import pytest

from simmerge_hub.errors import HubError
from simmerge_hub.progress import Say
from simmerge_hub.space.work import Desk, Doing, Done, Stopped, run


def test_what_it_does_is_seen_then_what_came_of_it() -> None:
    go = threading.Event()

    def work(say: Say) -> int:
        say("counting")
        go.wait(10)
        return 7

    steps = run(work, threading.Event())
    first = next(steps)
    assert isinstance(first, Doing)
    assert first.what in ("starting", "counting")
    go.set()
    assert [step.result for step in steps if isinstance(step, Done)] == [7]


def test_its_errors_are_raised_to_who_listens() -> None:
    def work(say: Say) -> None:
        raise HubError("no", hint="yes")

    with pytest.raises(HubError, match="no"):
        list(run(work, threading.Event()))


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_it_ends_at_its_next_word_when_stopped_or_left_alone(how: str) -> None:
    ended, stop = threading.Event(), threading.Event()

    def work(say: Say) -> None:
        try:
            for number in range(10_000):
                say(str(number))
                ended.wait(0.01)
        except Stopped:
            ended.set()
            raise

    steps = run(work, stop)
    next(steps)
    if how == "stop":
        stop.set()
        with pytest.raises(Stopped):
            list(steps)
    else:
        steps.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert ended.wait(10)


def test_new_work_of_a_visitor_stops_the_old_and_nobody_elses() -> None:
    desk = Desk()
    one, other = desk.begin("a"), desk.begin("b")
    again = desk.begin("a")
    assert (one.is_set(), other.is_set(), again.is_set()) == (True, False, False)
    desk.stop("a")
    desk.stop("a")
    desk.stop("nobody")
    assert (other.is_set(), again.is_set()) == (False, True)
