"""Long work in a thread of its own: what it says is shown meanwhile, and it can be stopped."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

from simmerge_hub.progress import Say

Result = TypeVar("Result")
Work = Callable[[Say], Result]
"""Work that calls what it is given with what it is doing now."""

LOOK_SECONDS = 0.2
"""How often what is being done is shown anew."""
PATIENCE_SECONDS = 5.0
"""How long new work waits for the last word of the one before."""


class Stopped(Exception):
    """The person does not want it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What is being done, and for how many seconds already."""

    what: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Generic[Result]):
    """What came of it."""

    result: Result


@dataclass(frozen=True, slots=True)
class Turn:
    """A piece of work of a visitor, from its first word to its last.

    Args:
        stop: set when it shall end.
        ended: set when it says no more.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


class Desk:
    """The work of every visitor: one piece at a time; a new one stops the one before."""

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, visitor: str) -> Iterator[Turn]:
        """A visitor's new piece of work, once the one before has said its last word.

        Else that word could reach the page after the first ones of the new work.
        """
        mine = Turn()
        with self._lock:
            before = self._turns.get(visitor)
            self._turns[visitor] = mine
        _end(before)
        try:
            yield mine
        finally:
            mine.ended.set()
            with self._lock:
                if self._turns.get(visitor) is mine:
                    del self._turns[visitor]

    def is_newest(self, visitor: str, turn: Turn) -> bool:
        """Whether the page is still its: nothing newer of this visitor has begun."""
        return self._turns.get(visitor) is turn

    def stop(self, visitor: str) -> bool:
        """Stop what a visitor has begun; whether there was anything, which then says so."""
        begun = self._turns.get(visitor)
        if begun is not None:
            begun.stop.set()
        return begun is not None

    def clear(self, visitor: str) -> None:
        """Stop what a visitor has begun, and wait for its last word."""
        _end(self._turns.get(visitor))


def _end(turn: Turn | None) -> None:
    if turn is not None:
        turn.stop.set()
        turn.ended.wait(PATIENCE_SECONDS)  # nobody hears it out whose browser has gone


def run(work: Work[Result], stop: threading.Event) -> Iterator[Doing | Done[Result]]:
    """Do the work in a thread; yields what it is doing, then what came of it.

    It ends at the next word of the work after `stop` is set, or after nobody listens any more.

    Raises:
        Stopped: it was stopped; whatever the work raises.
    """
    began, words = monotonic(), ["starting"]
    outcome: list[Done[Result]] = []
    failure: list[BaseException] = []
    finished, left = threading.Event(), threading.Event()

    def say(text: str) -> None:
        if stop.is_set() or left.is_set():
            raise Stopped
        words[0] = text

    def attempt() -> None:
        try:
            outcome.append(Done(result=work(say)))
        except BaseException as error:  # handed to who listens
            failure.append(error)
        finished.set()

    threading.Thread(target=attempt, daemon=True).start()
    try:
        while not finished.wait(LOOK_SECONDS):
            if stop.is_set():
                raise Stopped
            yield Doing(what=words[0], seconds=monotonic() - began)
    finally:
        left.set()
    if stop.is_set():
        raise Stopped
    if failure:
        raise failure[0]
    yield outcome[0]


def finish(work: Callable[[], Result], stop: threading.Event) -> Result:
    """What comes of work that says nothing meanwhile.

    Raises:
        Stopped: it was stopped, and goes on unheard; whatever the work raises.
    """
    *_, last = run(lambda say: work(), stop)
    assert isinstance(last, Done)
    return last.result
