"""Pieces of work -> their results, one after another in this process; and what a mapping is.

Whoever maps gets each result once and is the only one who records it: what dies on the way is done
again by the mapping, and nothing is ever recorded by who does the work.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from simmerge_hub.errors import EvaluationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one piece of work takes of the machine that does it.

    Args:
        cpus: cores.
        gpus: of them a share may be asked for, 0.5.
        memory: bytes.
    """

    cpus: float = 1
    gpus: float = 0
    memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """In place of a result: every process that tried the piece died."""

    reason: str


class MapWork(Protocol):
    """Does `work` on all `pieces`: yields (place of the piece, its result), each once, as they
    come. What `work` raises is raised."""

    def __call__(
        self, work: Callable[[Any], Any], pieces: Sequence[Any], needs: Needs
    ) -> Iterator[tuple[int, Any]]: ...


def map_here(
    work: Callable[[Any], Any], pieces: Sequence[Any], needs: Needs
) -> Iterator[tuple[int, Any]]:
    """One after another, in this process; `needs` are not looked at."""
    for place, piece in enumerate(pieces):
        yield place, work(piece)


def ask_here(work: Callable[[], Any]) -> list[tuple[str, Any]]:
    """(Node, what `work` returns there), of this process alone."""
    return [("this machine", work())]


def do_nothing() -> None:
    """What closes this process as a worker."""


RUNNING = 2**30
"""Bytes of a process that has loaded its libraries and no model yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who does the work.

    Args:
        map: how it is spread.
        elsewhere: whether in other processes, which share neither memory nor folders with this.
        gpus: whether a GPU is there.
        needs: of one piece.
        ask: does something once on every node: [(node, what it returns there)]; what it raises
            is raised, and a node that dies meanwhile is left out.
        close: called when nothing more is asked of them.
    """

    map: MapWork = map_here
    elsewhere: bool = False
    gpus: bool = False
    needs: Needs = Needs()
    ask: Callable[[Callable[[], Any]], list[tuple[str, Any]]] = ask_here
    close: Callable[[], None] = do_nothing

    def sized(self, model: int, device: str) -> "Workers":
        """These, for pieces that merge or run a model of so many bytes: it is held twice at most,
        as it is stored and as it is run."""
        gpus = 1 if self.gpus and device != "cpu" else 0
        return replace(self, needs=Needs(gpus=gpus, memory=RUNNING + 2 * model))

    def spread(
        self, work: Callable[[Any], Any], pieces: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]:
        """As `MapWork` says."""
        return self.map(work, pieces, self.needs)


HERE = Workers()


def map_in_order(
    workers: Workers,
    work: Callable[[Any], Any],
    pieces: Sequence[Any],
    tell: Callable[[int], None] = lambda done: None,
) -> list[Any]:
    """All results, in the order of the pieces; none may be lost.

    Args:
        workers: who does the work.
        work: what is done with each piece.
        pieces: what it is done with.
        tell: called with how many are done.

    Raises:
        EvaluationError: every process that tried a piece died.
    """
    results: list[Any] = [None] * len(pieces)
    for done, (place, result) in enumerate(workers.spread(work, pieces), 1):
        if isinstance(result, Lost):
            raise EvaluationError(
                f"a worker died, again and again: {result.reason}",
                hint="give it more memory, or a smaller --batch-size",
            )
        results[place] = result
        tell(done)
    return results
