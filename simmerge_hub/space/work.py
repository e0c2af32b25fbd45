"""Long work in a thread of its own: what it says is shown meanwhile, and it can be stopped."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Generic, TypeVar

from simmerge_hub.progress import Say

Result = TypeVar("Result")
Work = Callable[[Say], Result]
"""Work that calls what it is given with what it is doing now."""

LOOK_SECONDS = 0.2
"""How often what is being done is shown anew."""


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


class Desk:
    """The work of every visitor: one piece at a time; a new one stops the one before."""

    def __init__(self) -> None:
        self._stops: dict[str, threading.Event] = {}

    def begin(self, visitor: str) -> threading.Event:
        """What stops the work that this visitor begins now."""
        self.stop(visitor)
        self._stops[visitor] = threading.Event()
        return self._stops[visitor]

    def stays_stopped(self, visitor: str) -> bool:
        """Whether this visitor begins nothing while the last words of what was stopped arrive."""
        sleep(2 * LOOK_SECONDS)
        return visitor not in self._stops

    def stop(self, visitor: str) -> None:
        """Stop what a visitor has begun, if anything."""
        begun = self._stops.pop(visitor, None)
        if begun is not None:
            begun.set()


def run(work: Work[Result], stop: threading.Event) -> Iterator[Doing | Done[Result]]:
    """Do the work in a thread; yields what it is doing, then what came of it.

    It ends at the next word of the work after `stop` is set, or after nobody listens any more.

    Raises:
        Stopped: it was stopped; whatever the work raises.
    """
    began, words = monotonic(), ["starting"]
    outcome: list[Done[Result]] = []
    failure: list[BaseException] = []
    finished = threading.Event()

    def say(text: str) -> None:
        if stop.is_set():
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
        stop.set()
    if failure:
        raise failure[0]
    yield outcome[0]
