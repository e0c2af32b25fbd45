"""Mapping in this process, and what becomes of pieces whose processes died."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from simmerge_hub.errors import EvaluationError, MissingExtra, RequestError
from simmerge_hub.learning import trying
from simmerge_hub.learning.learn import learn
from simmerge_hub.version import __version__
from simmerge_hub.workers import cluster, head
from simmerge_hub.workers.here import HERE, Lost, Needs, Workers, map_in_order
from simmerge_hub.workers.scratch import scratch_home
from tests.evaluations import StandIn
from tests.learning.test_learn import RECIPE


def lose_merges(
    work: Callable[[Any], Any], pieces: Sequence[Any], needs: Needs
) -> Iterator[tuple[int, Any]]:
    """Backwards, as a cluster may; the second merge of each round kills whoever tries it."""
    for place in reversed(range(len(pieces))):
        merges = isinstance(pieces[place], tuple)
        yield (
            place,
            Lost(reason="the node is gone") if merges and place == 1 else work(pieces[place]),
        )


def put_ray(monkeypatch: pytest.MonkeyPatch, made: Any) -> None:
    """`made` in place of Ray."""
    for module in (cluster, head):
        monkeypatch.setattr(module, "import_ray", lambda: made)


def test_results_come_in_the_order_of_the_pieces() -> None:
    backwards = Workers(map=lose_merges)
    done = list[int]()
    assert map_in_order(backwards, lambda x: x * 2, [1, 2, 3], done.append) == [2, 4, 6]
    assert map_in_order(HERE, str, [1, 2]) == ["1", "2"]
    assert done == [1, 2, 3]
    with pytest.raises(EvaluationError, match="again and again: the node is gone"):
        map_in_order(backwards, str, [(1,), (2,)])


def test_a_merge_whose_processes_died_is_a_row_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "evaluate", StandIn())
    learned = learn(RECIPE, tmp_path, workers=Workers(map=lose_merges), fit=False)
    failed = [row for row in learned.measurements if row.failed]
    assert failed and {row.failed for row in failed} == {"the node is gone"}
    assert len(learned.measurements) == 8
    assert any(row.utility is not None for row in learned.measurements)
    again = learn(RECIPE, tmp_path, fit=False)
    assert len(again.measurements) == 8 and not any(row.failed for row in again.measurements)


def test_each_merge_elsewhere_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "evaluate", StandIn())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders: list[Path] = []
    make = trying.make_merge

    def make_and_look(trial: Any, models: Any, chosen: Any, folder: Path) -> Any:
        own = scratch_home() / folder.relative_to(scratch_home()).parts[0]
        assert own.stat().st_mode & 0o777 == 0o700
        folders.append(own)
        return make(trial, models, chosen, folder)

    monkeypatch.setattr(trying, "make_merge", make_and_look)
    learn(RECIPE, tmp_path / "learned", workers=Workers(elsewhere=True), fit=False)
    assert len(set(folders)) == len(folders) == RECIPE.budget
    assert not any(folder.exists() for folder in folders)


def test_a_cluster_without_room_is_not_waited_for_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    def wait(references: list[int], **_: Any) -> tuple[list[int], list[int]]:
        nonlocal looks
        looks += 1  # the node dies after one piece, and another comes much later
        return (references[:1], []) if looks == 1 or looks > 20 else ([], references)

    def nodes() -> list[dict[str, Any]]:
        return [{"Alive": not 1 <= looks <= 20, "Resources": {"CPU": 1, "memory": 1}}]

    calls = iter(range(9))
    task = SimpleNamespace(remote=lambda work, piece: next(calls))
    made = SimpleNamespace(
        put=lambda work: work, remote=lambda do: SimpleNamespace(options=lambda **_: task),
        wait=wait, nodes=nodes, cancel=print, cloudpickle=SimpleNamespace(dumps=lambda what: what),
    )  # fmt: skip
    put_ray(monkeypatch, made)
    monkeypatch.setattr(cluster, "_result", lambda reference: reference)
    said: list[str] = []
    results = list(cluster.map_on_cluster(str, ["a", "b"], Needs(memory=1), said.append))
    assert results == [(0, 0), (1, 1)]
    assert len(said) == 2 and "no node of the cluster has 1 CPU" in said[1]
    assert "is begun anew elsewhere" in said[0]


def test_what_nobody_waits_for_any_more_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[int] = []
    calls = iter(range(9))
    task = SimpleNamespace(remote=lambda work, piece: next(calls))
    made = SimpleNamespace(
        put=lambda work: work, remote=lambda do: SimpleNamespace(options=lambda **_: task),
        wait=lambda references, **_: (references[:1], []), cancel=cancelled.append,
        nodes=lambda: [{"Alive": True, "Resources": {"CPU": 1}}],
        cloudpickle=SimpleNamespace(dumps=lambda what: what),
    )  # fmt: skip
    put_ray(monkeypatch, made)
    monkeypatch.setattr(cluster, "_result", lambda reference: reference)
    results = cluster.map_on_cluster(str, ["a", "b", "c", "d"], Needs())
    assert next(results) == (0, 0)
    assert next(calls) == 2  # two were handed out for the one that can run
    results.close()
    assert cancelled == [1]


def test_a_model_needs_room_for_itself_twice_and_a_gpu_if_one_is_there() -> None:
    assert HERE.sized(10**9, "auto").needs.gpus == 0
    workers = Workers(gpus=True).sized(10**9, "auto")
    assert (workers.needs.gpus, workers.needs.memory) == (1, 2**30 + 2 * 10**9)
    assert Workers(gpus=True).sized(1, "cpu").needs.gpus == 0


def test_nodes_are_tidied_before_and_after_whatever_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    nodes = Workers(
        elsewhere=True,
        ask=lambda work: asked.append(work) or [("10.0.0.1", __version__)],
        close=lambda: asked.append("closed"),
    )
    monkeypatch.setattr(cluster, "connect", lambda address, say: nodes)
    monkeypatch.setattr(cluster, "head_answers", lambda: True)
    with pytest.raises(EvaluationError), cluster.open_workers("auto") as workers:
        assert workers is nodes and asked == [cluster.tidy]
        raise EvaluationError("it failed")
    assert asked == [cluster.tidy, cluster.tidy, "closed"]
    monkeypatch.setattr(cluster, "head_answers", lambda: False)
    with cluster.open_workers("auto"):
        asked.clear()
    assert asked == ["closed"]  # whoever waits for a head that is gone is ended by Ray
    with cluster.open_workers(None) as workers:
        assert workers is HERE
    assert asked == ["closed"]


def test_a_node_with_another_version_or_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(work: Any) -> Any:
        raise ModuleNotFoundError("No module named 'simmerge_hub'")

    def open_with(ask: Any) -> None:
        nodes = Workers(elsewhere=True, ask=ask)
        monkeypatch.setattr(cluster, "connect", lambda address, say: nodes)
        monkeypatch.setattr(cluster, "head_answers", lambda: True)
        with cluster.open_workers("auto"):
            pytest.fail("work was begun")

    with pytest.raises(RequestError, match="cannot run simmerge-hub: No module named"):
        open_with(fail)
    with pytest.raises(RequestError, match=r"the node 10\.0\.0\.1 has simmerge-hub 0\.0\.1, and"):
        open_with(lambda work: [("10.0.0.1", "0.0.1")])


def test_without_ray_one_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        cluster.connect("auto")
    assert "simmerge-hub[ray]" in caught.value.hint
