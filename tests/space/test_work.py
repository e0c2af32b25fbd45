"""Work in a thread: what it says is seen, it can be stopped, and its errors come through."""

import threading

import pytest

from simmerge_hub.errors import HubError
from simmerge_hub.progress import Say
from simmerge_hub.space import work
from simmerge_hub.space.work import Desk, Doing, Done, Stopped, finish, run


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


def test_what_was_stopped_as_it_ended_is_not_what_came_of_it() -> None:
    stop = threading.Event()
    steps = run(lambda say: stop.set(), stop)
    with pytest.raises(Stopped):
        list(steps)


def test_work_that_says_nothing_is_waited_for_and_left_when_it_is_stopped() -> None:
    assert finish(lambda: 7, threading.Event()) == 7
    stop, go = threading.Event(), threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        finish(lambda: go.wait(10), stop)
    go.set()


def test_new_work_of_a_visitor_stops_the_old_and_nobody_elses() -> None:
    desk = Desk()
    with desk.turn("b") as other, desk.turn("a") as one:
        one.ended.set()
        assert desk.is_newest("a", one)
        with desk.turn("a") as again:
            assert (one.stop.is_set(), other.stop.is_set(), again.stop.is_set()) == (
                True,
                False,
                False,
            )
            assert (desk.is_newest("a", one), desk.is_newest("a", again)) == (False, True)
            assert desk.stop("a")
            assert again.stop.is_set()
        assert not desk.stop("a")
        assert not desk.stop("nobody")
        assert not other.stop.is_set()


def test_new_work_begins_after_the_last_word_of_the_old() -> None:
    desk, order = Desk(), []
    begun, go = threading.Event(), threading.Event()

    def old() -> None:
        with desk.turn("a") as turn:
            begun.set()
            turn.stop.wait(10)
            go.wait(0.2)
            order.append("old")

    thread = threading.Thread(target=old)
    thread.start()
    begun.wait(10)
    with desk.turn("a"):
        order.append("new")
    thread.join(10)
    assert order == ["old", "new"]


def test_new_work_does_not_wait_for_ever_for_who_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PATIENCE_SECONDS", 0.01)
    desk = Desk()
    with desk.turn("a") as gone, desk.turn("a") as new:
        assert (gone.ended.is_set(), new.stop.is_set()) == (False, False)
