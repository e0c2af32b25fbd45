"""The server is killed with `kill -9` during fifty uploads: nothing visible is ever damaged or
lost.

One client process uploads mixed files in a loop and tries again until it succeeds; after each kill
the folder is checked as the crash left it, and a new server is started over it on the same port.
"""

import hashlib
import os
import random
import select
import socket
import subprocess
import sys
import time
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

from simmerge_hub import localhub
from simmerge_hub.localhub.store.storage import prepare, verify

UPLOADS = 50
SEED = 20260127
CLIENT = """
import random, sys, time
import huggingface_hub.utils._http as http
from huggingface_hub import CommitOperationAdd, HfApi

wait = time.sleep
http.time.sleep = lambda seconds: wait(min(seconds, 0.05))  # back off less: the server is back soon
api = HfApi()

def upload(number):
    rng = random.Random(number)
    repo = api.create_repo(f"org/crash-{number % 3}", exist_ok=True).repo_id
    files = {f"{number}.txt": rng.randbytes(rng.randrange(1, 40_000)).hex().encode()}
    if number % 4:
        files[f"{number}.bin"] = rng.randbytes(rng.randrange(1, 900_000))
    operations = [CommitOperationAdd(name, data) for name, data in files.items()]
    return api.create_commit(repo, operations, commit_message=f"upload {number}").oid

for line in sys.stdin:
    while True:
        try:
            print(upload(int(line)), flush=True)
            break
        except Exception as error:
            print(type(error).__name__, error, file=sys.stderr)
            wait(0.02)
"""


def expected(number: int) -> dict[str, bytes]:
    rng = random.Random(number)
    files = {f"{number}.txt": rng.randbytes(rng.randrange(1, 40_000)).hex().encode()}
    if number % 4:
        files[f"{number}.bin"] = rng.randbytes(rng.randrange(1, 900_000))
    return files


class Server:
    """A localhub that starts fast, forked from a process that has imported it, and dies at once."""

    def __init__(self, folder: Path):
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(["simmerge_hub.localhub.server"])
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        served = {"dir": self._folder, "port": self.port}
        self._process = self._context.Process(target=localhub.serve, kwargs=served, daemon=True)
        self._process.start()
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert self._process.is_alive()
                time.sleep(0.005)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()


class Client:
    """One process that uploads what it is told to, until it succeeds."""

    def __init__(self, folder: Path, port: int):
        environment = {
            **os.environ,
            "HF_ENDPOINT": f"http://127.0.0.1:{port}",
            "HF_HOME": str(folder / "client"),
            "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2",
            "HF_XET_CLIENT_RETRY_BASE_DELAY": "20ms",
        }
        with (folder / "client.log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", CLIENT],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
            )

    def upload(self, number: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")

    def busy(self) -> bool:
        assert self._process.stdout is not None
        return not select.select([self._process.stdout], [], [], 0)[0]

    def commit(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate()


class Moments:
    """Random moments within an upload, on any machine: learned from hits and misses."""

    def __init__(self, first: float):
        self._longest, self._rng, self.hits = first, random.Random(SEED), 0

    def draw(self) -> float:
        return self._rng.uniform(0, self._longest)

    def learn(self, hit: bool) -> None:
        self._longest *= 1.15 if hit else 0.7
        self.hits += hit


def test_fifty_kills_damage_nothing(tmp_path: Path) -> None:
    folder, acknowledged = tmp_path / "hub", {}
    server, moments = Server(folder), {True: Moments(0.1), False: Moments(0.03)}
    with closing(Client(tmp_path, server.port)) as client:
        client.upload(UPLOADS)
        client.commit()
        for number in range(UPLOADS):
            moment = moments[number % 4 > 0]
            client.upload(number)
            time.sleep(moment.draw())
            moment.learn(client.busy())
            server.kill()
            assert verify(folder) == []
            server.start()
            acknowledged[number] = client.commit()
    server.kill()
    assert verify(folder) == []
    check_kept(folder, acknowledged)
    hits = sum(moment.hits for moment in moments.values())
    assert hits >= UPLOADS // 2, "most kills missed the uploads: nothing is proved"


def check_kept(folder: Path, acknowledged: dict[int, str]) -> None:
    """Acknowledged commits are in the history; the last snapshots hold every file as sent."""
    repositories = prepare(folder).repositories
    for number, oid in acknowledged.items():
        repository = repositories.get("models", f"org/crash-{number % 3}")
        head = repositories.at(repository, "main")
        assert oid in [commit.oid for commit in repositories.log(repository, head.oid)]
        for name, data in expected(number).items():
            assert head.files[name].sha256 == hashlib.sha256(data).hexdigest()
