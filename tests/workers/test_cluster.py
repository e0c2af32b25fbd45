"""Work on a Ray cluster: the tables of one process, whatever dies on the way; nothing twice.

Needs the extra `ray`, which the tests of a pull request do not install: CONTRIBUTING says how to
run this file.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.errors import EvaluationError, RequestError
from simmerge_hub.learning import trying
from simmerge_hub.learning.learn import JOURNAL_FILE, learn
from simmerge_hub.operators import arm
from simmerge_hub.workers.cluster import connect
from simmerge_hub.workers.here import Lost, Needs
from tests import evaluations
from tests.evaluations import StandIn
from tests.learning.test_learn import RECIPE, TABLES

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
    paths = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
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
