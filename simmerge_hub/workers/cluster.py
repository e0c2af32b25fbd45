"""Pieces of work -> their results, on the nodes of a Ray cluster (extra `ray`).

Ray starts the processes, moves what they need and tries again what dies with its node; this module
says how much runs at a time and hands each result over once. Models are fetched by whoever needs
them: into the node's own cache of the Hub, whose locks let one process of a node download a file
and the others wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from simmerge_hub.errors import MissingExtra, RequestError
from simmerge_hub.progress import Say
from simmerge_hub.version import __version__
from simmerge_hub.workers.head import head_answers, import_ray, list_nodes, reach_head
from simmerge_hub.workers.here import HERE, Lost, Needs, Workers, do_nothing
from simmerge_hub.workers.scratch import remove_leftovers

TRIES_AGAIN = 4
"""How often a piece is begun anew whose process or node died."""
AHEAD = 2
"""Pieces handed to Ray for each that can run: the next one is there when one ends, and a cluster
never holds all that waits."""
LOOK_AGAIN = 5.0
"""Seconds after which is asked anew how many pieces the cluster can run."""
SILENT_ROUNDS = 6
"""Looks at a cluster without any room, one after another, before that is said."""


def check_ray() -> None:
    """Raise MissingExtra unless Ray is there."""
    if find_spec("ray") is None:
        raise MissingExtra(
            "Ray is not installed",
            hint="install the extra ray, here and on the nodes: pip install 'simmerge-hub[ray]'",
        )


@contextmanager
def open_workers(address: str | None, say: Say = lambda text: None) -> Iterator[Workers]:
    """Those of the cluster at `address`, or this process where there is none.

    What killed workers left on the nodes is removed when the block begins and when it ends. A
    connection that was made for it is closed then.

    Raises:
        MissingExtra, RequestError: as of `connect`.
        RequestError: a node has no simmerge-hub, or another one.
    """
    if address is None:
        yield HERE
        return
    workers = connect(address, say)
    try:
        _greet(workers)
        yield workers
    finally:
        if head_answers():  # the cluster may be what failed
            with suppress(Exception):
                workers.ask(tidy)
        workers.close()


def tidy() -> str:
    """Remove what killed workers left on this machine; the version of simmerge-hub here."""
    remove_leftovers()
    return __version__


def _greet(workers: Workers) -> None:
    """Tidy every node, and raise RequestError where one has not this simmerge-hub."""
    hint = "install the same version of simmerge-hub, with the same extras, on all nodes"
    try:
        versions = workers.ask(tidy)
    except RequestError:  # the head is gone
        raise
    except Exception as error:  # whatever comes of a package that is not there, or is another
        said = (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
        raise RequestError(
            f"a node of the cluster cannot run simmerge-hub: {said}", hint=hint
        ) from error
    for name, there in versions:
        if there != __version__:
            raise RequestError(
                f"the node {name} has simmerge-hub {there}, and this machine {__version__}",
                hint=hint,
            )


def connect(address: str, say: Say = lambda text: None) -> Workers:
    """The nodes of the cluster at `address`: `auto` for the one that runs here, or host:port.

    `say` is told when no node is left that could do the work.

    Raises:
        MissingExtra: Ray is not installed.
        RequestError: no cluster answers there, or it refuses this machine.
    """
    check_ray()
    ray, close = import_ray(), do_nothing
    if not ray.is_initialized():
        reach_head(address)
        close = ray.shutdown
    gpus = any(node["Resources"].get("GPU", 0) for node in _alive_nodes())
    return Workers(
        map=partial(map_on_cluster, say=say),
        elsewhere=True,
        gpus=gpus,
        ask=ask_every_node,
        close=close,
    )


def map_on_cluster(
    work: Callable[[Any], Any],
    pieces: Sequence[Any],
    needs: Needs,
    say: Say = lambda text: None,
) -> Iterator[tuple[int, Any]]:
    """As `MapWork` says, on all nodes; `Lost` where every process that tried a piece died.

    Raises:
        RequestError: no node has what a piece needs, or the head is gone.
    """
    ray = import_ray()
    _check_room(needs)
    shared = ray.put(ray.cloudpickle.dumps(work))
    task = ray.remote(_do).options(
        num_cpus=needs.cpus,
        num_gpus=needs.gpus,
        memory=needs.memory,
        max_retries=TRIES_AGAIN,
    )
    waiting, running, rounds = deque(enumerate(pieces)), dict[Any, int](), 0
    alive = _count_alive()
    try:
        while waiting or running:
            while waiting and len(running) < AHEAD * _slots(needs):
                place, piece = waiting.popleft()
                running[task.remote(shared, piece)] = place
            ready, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_AGAIN)
            before, alive = alive, _count_alive()
            if alive < before:
                say("a node of the cluster is gone: what it had begun is begun anew elsewhere")
            rounds = 0 if ready or _has_room(needs) else rounds + 1
            if rounds == SILENT_ROUNDS:
                say(f"{_no_room(needs)} any more; waiting for one: ray start --address=HOST:PORT")
            for reference in ready:
                yield running.pop(reference), _result(reference)
    finally:  # whoever reads the results may have had enough, or have failed
        for reference in running:
            ray.cancel(reference)


def ask_every_node(work: Callable[[], Any]) -> list[tuple[str, Any]]:
    """As `Workers.ask` says, of the nodes that have a core to work with; at once, whatever else
    runs there."""
    ray, strategies = import_ray(), import_module("ray.util.scheduling_strategies")
    task = ray.remote(_do_alone)
    asked: list[tuple[str, Any]] = []
    for node in _alive_nodes():
        if node["Resources"].get("CPU", 0) >= 1:
            there = strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            alone = task.options(num_cpus=0, max_retries=TRIES_AGAIN, scheduling_strategy=there)
            asked.append((node["NodeManagerAddress"], alone.remote(work)))
    answers = [(name, _answer(reference)) for name, reference in asked]
    return [(name, answer) for name, answer in answers if not isinstance(answer, Lost)]


def _answer(reference: Any) -> Any:
    """`_result`, and `Lost` where the node is gone before it could begin."""
    gone = import_module("ray.exceptions").TaskUnschedulableError
    try:
        return _result(reference)
    except gone as error:
        return Lost(reason=str(error))


def _do(work: bytes, piece: Any) -> bytes:
    """Pickled as a whole: of what Ray itself takes apart, arrays may not be written to."""
    pickle = import_ray().cloudpickle
    return pickle.dumps(pickle.loads(work)(piece))


def _do_alone(work: Callable[[], Any]) -> bytes:
    return import_ray().cloudpickle.dumps(work())


def _result(reference: Any) -> Any:
    ray, exceptions = import_ray(), import_module("ray.exceptions")
    died = (
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.OutOfMemoryError,
        exceptions.ObjectLostError,
    )
    try:
        return ray.cloudpickle.loads(ray.get(reference))
    except died as error:
        return Lost(reason=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    except exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from None


def _slots(needs: Needs) -> int:
    """How many pieces the cluster can run at a time; one at least: a node may come back."""
    return max(1, sum(_fits(node, needs) for node in _alive_nodes()))


def _fits(node: dict[str, Any], needs: Needs) -> int:
    """How many pieces a node can run at a time."""
    wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory}
    have = node["Resources"]
    return min(int(have.get(name, 0) // count) for name, count in wanted.items() if count)


def _count_alive() -> int:
    return len(_alive_nodes())


def _alive_nodes() -> list[dict[str, Any]]:
    return [node for node in list_nodes() if node["Alive"]]


def _has_room(needs: Needs) -> bool:
    return any(_fits(node, needs) for node in _alive_nodes())


def _no_room(needs: Needs) -> str:
    return (
        f"no node of the cluster has {needs.cpus:g} CPU, {needs.gpus:g} GPU and "
        f"{needs.memory:,} bytes of memory"
    )


def _check_room(needs: Needs) -> None:
    """Raise RequestError where Ray would wait for ever."""
    if not _has_room(needs):
        raise RequestError(_no_room(needs), hint="add a larger node: ray start --address=HOST:PORT")
