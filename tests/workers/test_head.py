"""A cluster that is not there, that refuses us, or whose head goes away: one error of ours.

The tests against real clusters need the extra `ray`, as those of `test_cluster.py` do.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from simmerge_hub.errors import RequestError
from simmerge_hub.workers import cluster, head
from tests.workers.test_here import put_ray

REPOSITORY = str(Path(__file__).parents[2])
STORE = 80 * 2**20
SERVE = f"""
import sys, time
from ray.cluster_utils import Cluster
size = {{"object_store_memory": {STORE}}}
made = Cluster(initialize_head=True, head_node_args={{"num_cpus": 0, **size}})
if sys.argv[1:]:
    made.add_node(num_cpus=1, **size)
print(made.address, flush=True)
if sys.stdin.readline():
    for processes in made.head_node.all_processes.values():
        for each in processes:
            each.process.kill()
    sys.stdin.readline()
made.shutdown()
"""
"""Serves a cluster: says where; a line, and its head is killed; the end of lines, and all is."""
WORK = """
import sys, time
from simmerge_hub.errors import SimmergeError
from simmerge_hub.workers.cluster import open_workers
try:
    with open_workers(sys.argv[1]) as workers:
        for place, _ in workers.spread(lambda piece: time.sleep(0.1), range(3000)):
            print(place, flush=True)
except SimmergeError as error:
    print(f"{error} / {error.hint}", flush=True)
"""
needs_ray = pytest.mark.skipif(not find_spec("ray"), reason="the extra ray is not installed")


@contextmanager
def serve(*words: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A cluster of its own: its address, and the process that is it."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, *words], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": REPOSITORY, **environment},
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout
        try:
            lines = iter(process.stdout.readline, "")
            yield next(line for line in lines if line.count(":") == 1).strip(), process
        finally:
            process.stdin.close()


def work(address: str, begin: str = "", **environment: str) -> subprocess.Popen[str]:
    """A process that works on a cluster, and says what came of it."""
    return subprocess.Popen(
        [sys.executable, "-c", begin + WORK, address], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": REPOSITORY, **environment},
    )  # fmt: skip


@needs_ray
def test_who_works_for_a_head_that_dies_is_told_so_in_one_sentence() -> None:
    with serve("node") as (address, process):
        child = work(address)
        assert child.stdout and process.stdin
        assert child.stdout.readline() == "0\n"
        process.stdin.write("die\n")
        process.stdin.flush()
        said, _ = child.communicate(timeout=50)
    assert child.returncode == 0
    last = said.splitlines()[-1]
    assert last.startswith(f"the head of the Ray cluster at {address} does not answer any more / ")
    assert "run the same command again" in last


@needs_ray
def test_a_cluster_that_asks_for_a_token_says_what_is_missing(tmp_path: Path) -> None:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
    home = {"HOME": str(tmp_path)}
    with serve(**token) as (address, _):
        asked = [
            work(address, **home),
            work(address, **home, RAY_AUTH_MODE="token"),
            work(address, **home, **{**token, "RAY_AUTH_TOKEN": "b" * 64}),
            work(address, "import ray\nray.__version__ = '0.0.1'\n", **home, **token),
        ]
        said = [child.communicate(timeout=60)[0] for child in asked]
    assert said[0].startswith(f"the Ray cluster at {address} asks for a token, and none was sent /")
    assert said[1].startswith("RAY_AUTH_MODE is token, and no token is set / set RAY_AUTH_MODE")
    assert said[2].startswith(f"the Ray cluster at {address} refuses the token that is set / ")
    ours = ".".join(map(str, sys.version_info[:3]))
    assert f"Python {ours}, and this machine Ray 0.0.1 under Python {ours} / " in said[3]
    assert all(each.count("\n") == 1 for each in said)  # and not one line of Ray's own


def test_a_head_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    silence = threading.Event()
    about = SimpleNamespace(gcs_address="127.0.0.1:1")
    made = SimpleNamespace(
        is_initialized=lambda: True, nodes=silence.wait, get_runtime_context=lambda: about
    )
    put_ray(monkeypatch, made)
    monkeypatch.setattr(head, "HEAD_SECONDS", 0.05)
    try:
        with pytest.raises(RequestError, match=r"at 127\.0\.0\.1:1 does not answer any more"):
            head.list_nodes()
    finally:
        silence.set()
    assert not head.head_answers()
    with socket.create_server(("127.0.0.1", 0)) as server:
        about.gcs_address = f"127.0.0.1:{server.getsockname()[1]}"
        assert head.head_answers()


def test_what_ray_raises_of_the_question_for_nodes_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise ValueError("ray was not initialised")

    put_ray(monkeypatch, SimpleNamespace(nodes=fail))
    with pytest.raises(ValueError, match="not initialised"):
        head.list_nodes()


def test_a_cluster_of_other_versions_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.1\n"
            "This process on node 10.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
        )

    put_ray(monkeypatch, SimpleNamespace(is_initialized=lambda: False, init=refuse))
    monkeypatch.setattr(cluster, "check_ray", lambda: None)
    with pytest.raises(RequestError) as caught:
        cluster.connect("auto")
    assert str(caught.value) == (
        "the cluster at auto runs Ray 2.9.0 under Python 3.10.1, and this machine Ray 2.60.0 "
        "under Python 3.11.7"
    )
    assert "ray==2.9.0" in caught.value.hint


def test_an_address_where_nothing_listens_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_for_minutes(**_: Any) -> None:
        pytest.fail("Ray was asked")

    made = SimpleNamespace(is_initialized=lambda: False, init=wait_for_minutes)
    monkeypatch.setattr(cluster, "check_ray", lambda: None)
    put_ray(monkeypatch, made)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # it is nobody else's meanwhile, and nobody listens there
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RequestError, match=f"no Ray cluster at {address}: .*refused"):
            cluster.connect(address)


def test_the_brackets_of_an_ipv6_address_are_no_part_of_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], _timeout: float) -> None:
        asked.append(address)
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(cluster, "check_ray", lambda: None)
    put_ray(monkeypatch, SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setattr(socket, "create_connection", refuse)
    for address in ("[::1]:6379", "10.0.0.1:6379"):
        with pytest.raises(RequestError, match=r"no Ray cluster at .*: refused"):
            cluster.connect(address)
    assert asked == [("::1", 6379), ("10.0.0.1", 6379)]
