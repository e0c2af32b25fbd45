"""Work on a Ray cluster: the tables of one process, whatever dies on the way; nothing twice.

Needs the extra `ray`, which the tests of a pull request do not install: CONTRIBUTING says how to
run this file.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import EvaluationError, RequestError
from simmerge_hub.evaluation import harness
from simmerge_hub.evaluation.results import Protocol
from simmerge_hub.evaluation.spread import evaluate_all
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.learning import trying
from simmerge_hub.learning.learn import JOURNAL_FILE, learn
from simmerge_hub.merger import merge
from simmerge_hub.operators import arm
from simmerge_hub.recipe import load
from simmerge_hub.workers.cluster import connect, open_workers
from simmerge_hub.workers.here import Lost, Needs
from simmerge_hub.workers.scratch import scratch_home
from tests import evaluations, nano
from tests.evaluations import StandIn
from tests.learning.test_learn import RECIPE, TABLES
from tests.merger.test_run import digests

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

MANY = replace(
    RECIPE,
    arms=(arm("linear"), arm("slerp"), *(arm("ties", density=d) for d in (0.2, 0.5, 1.0))),
    budget=15,
)
STORE = 80 * 2**20


def put_stand_in() -> None:
    """In every process of the cluster, what `monkeypatch` does in this one."""
    from simmerge_hub.learning import trying as there

    there.evaluate = StandIn()  # type: ignore[assignment]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that does no work."""
    cluster_utils = import_module("ray.cluster_utils")
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", ":".join(filter(None, paths)))
        made = cluster_utils.Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": STORE},
        )
        for module in (evaluations, sys.modules[__name__]):
            ray.cloudpickle.register_pickle_by_value(module)
        ray.init(
            address=made.address,
            log_to_driver=False,
            runtime_env={"worker_process_setup_hook": put_stand_in},
        )
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Two models of 40 tensors of 4 MB, to be merged into five shards."""
    for seed, name in enumerate(("base", "a", "b")):
        generator = torch.Generator().manual_seed(seed)
        tensors = {
            f"layers.{i}.weight": torch.randn(2048, 1024, generator=generator).bfloat16()
            for i in range(40)
        }
        nano.save(tmp_path / name, tensors, config={"model_type": "llama"})
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "simmerge: 1\nbase: {folder: base}\nmodels: [{folder: a}, {folder: b}]\n"
        "steps: [{operator: ties, models: [a, b]}]\nshard_size: 40000000\n"
    )
    return path


@pytest.fixture
def nodes(cluster: Any) -> Iterator[list[Any]]:
    made = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
    yield made
    for node in made:
        cluster.remove_node(node, allow_graceful=False)


def test_a_node_that_dies_loses_and_doubles_no_row(
    cluster: Any, nodes: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "evaluate", StandIn())
    learn(MANY, tmp_path / "here", fit=False)
    done: list[str] = []

    def tell(what: str, count: int, total: int) -> None:
        if total == MANY.budget:
            done.append(what)
            if count == 4:
                cluster.remove_node(nodes.pop(), allow_graceful=False)

    learn(MANY, tmp_path / "there", workers=connect("auto"), fit=False, progress=tell)
    tables = [{n: (tmp_path / f / n).read_bytes() for n in TABLES} for f in ("here", "there")]
    assert tables[0] == tables[1]
    lines = (tmp_path / "there" / JOURNAL_FILE).read_text().splitlines()
    merges = [tuple(json.loads(line)["merge"]) for line in lines[1:]]
    assert len(merges) == len(set(merges)) == len(done) == MANY.budget


def test_a_merge_is_split_and_one_node_dies_in_the_middle(
    cluster: Any, nodes: list[Any], recipe: Path, tmp_path: Path
) -> None:
    merge(load(recipe)[0], tmp_path / "here")
    done: list[str] = []

    def tell(name: str, count: int, total: int) -> None:
        done.append(name)
        if count == total // 4:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    merge(load(recipe)[0], tmp_path / "there", workers=connect("auto"), progress=tell)
    assert digests(tmp_path / "there") == digests(tmp_path / "here")
    assert len(done) == len(set(done)) == 40


def test_the_process_that_splits_is_killed_and_the_next_goes_on(
    cluster: Any, nodes: list[Any], recipe: Path, tmp_path: Path
) -> None:
    merge(load(recipe)[0], tmp_path / "here")
    split = [sys.executable, "-m", "simmerge_hub.cli.main", "merge", str(recipe), "-o"]
    child = subprocess.Popen([*split, str(tmp_path / "there"), "--ray", cluster.address])
    journal = tmp_path / "there.partial" / ".journal"
    while child.poll() is None and not (journal.exists() and journal.read_text().count("\n") > 3):
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    recorded = {json.loads(line)[0] for line in journal.read_text().splitlines()[1:]}
    done: list[str] = []
    merge(
        load(recipe)[0],
        tmp_path / "there",
        workers=connect("auto"),
        progress=lambda name, *_: done.append(name),
    )
    assert recorded and not recorded & set(done) and len(recorded) + len(done) == 40
    assert digests(tmp_path / "there") == digests(tmp_path / "here")


def test_models_are_evaluated_on_the_nodes_and_the_scores_kept_here(
    nodes: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [resolve(str(nano_folder() / name)) for name in ("code", "math")]
    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path))
    told: list[int] = []
    with open_workers("auto") as workers:
        there = evaluate_all(
            models, ["nano_code", "nano_math"], workers=workers, protocol=Protocol(limit=10),
            tell=lambda what, done, total: told.append(total),
        )  # fmt: skip
    assert told == [4, 4, 4, 4]
    monkeypatch.setattr(harness, "_run", lambda *_: pytest.fail("it was measured already"))
    here = evaluate_all(models, ["nano_code", "nano_math"], protocol=Protocol(limit=10))
    assert here == there
    assert [each["nano_code"][0].score for each in here] == [1.0, 0.0]


def test_what_nodes_send_can_be_written_to_and_leftovers_are_removed(nodes: list[Any]) -> None:
    leftover = scratch_home() / "of-a-killed-worker"

    def work(piece: int) -> Any:
        leftover.mkdir(parents=True, exist_ok=True)
        return np.zeros(2**20)

    with open_workers("auto") as workers:
        scratch_home().mkdir(mode=0o700, exist_ok=True)
        ((_, array),) = workers.spread(work, [0])
        array[0] = 1.0
        assert leftover.exists()
    assert not leftover.exists()


def test_what_work_raises_is_raised_and_who_dies_is_lost(nodes: list[Any]) -> None:
    workers = connect("auto")

    def work(piece: int) -> int:
        if piece == 1:
            os._exit(1)
        return piece * 10

    def refuse(piece: int) -> int:
        raise EvaluationError("the task is not known", hint="name another")

    results = dict(workers.spread(work, [0, 1, 2]))
    assert (results[0], results[2]) == (0, 20)
    assert isinstance(results[1], Lost) and "died" in results[1].reason.lower()
    with pytest.raises(EvaluationError, match="the task is not known") as caught:
        dict(workers.spread(refuse, [0]))
    assert caught.value.hint == "name another"
    with pytest.raises(RequestError, match="no node of the cluster has 64 CPU"):
        dict(replace(workers, needs=Needs(cpus=64)).spread(work, [0]))
