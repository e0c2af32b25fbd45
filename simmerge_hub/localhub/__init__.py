"""localhub: a Hugging Face Hub on 127.0.0.1 that unmodified clients talk to through HF_ENDPOINT.

    with localhub.running("./hub") as hub:
        subprocess.run([...], env={**os.environ, **hub.environment()})

`huggingface_hub` reads HF_ENDPOINT when it is first imported, so set it before, or use a
subprocess. This module only starts and stops the server process, and needs nothing but the standard
library: the `localhub` extra (starlette, uvicorn, lz4, markdown-it-py) is imported by the process
that serves.
"""

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from simmerge_hub.localhub.errors import LocalhubError

__all__ = ["Hub", "LocalhubError", "running", "serve"]

STARTUP_SECONDS = 30
SHUTDOWN_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A running localhub: its address, the cache folder of its clients, its owner's token."""

    endpoint: str
    home: Path
    token: str
    pid: int

    def environment(self) -> dict[str, str]:
        """What to add to the environment of a client, before it imports `huggingface_hub`."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.home),
            "HF_TOKEN": self.token,
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }


def serve(
    *,
    dir: str | Path,
    port: int = 0,
    idle: float | None = None,
    tokens: Mapping[str, str] | None = None,
    exit_with_parent: bool = False,
) -> None:
    """Serve a storage folder in this process until SIGTERM, SIGINT, or `idle` quiet seconds.

    Prints HF_ENDPOINT, HF_HOME and HF_TOKEN lines for clients. `tokens` maps further user names to
    their tokens; `exit_with_parent` also stops the server when its stdin ends. LocalhubError when
    the `localhub` extra is not installed, the port is taken, or another localhub owns the folder.
    """
    try:
        from simmerge_hub.localhub import server
    except ModuleNotFoundError as error:
        hint = "pip install 'simmerge-hub[localhub]'"
        raise LocalhubError(
            f"localhub needs {error.name}, which is not installed: {hint}"
        ) from None
    root = _root(dir)
    server.run(root, port=port, idle=idle, tokens=tokens or {}, exit_with_parent=exit_with_parent)


def _root(dir: str | Path) -> Path:
    try:
        return Path(dir).expanduser().resolve()
    except RuntimeError as error:  # the home of a user there is not
        raise LocalhubError(f"{dir} cannot be a folder: {error}") from None


@contextmanager
def running(
    dir: str | Path,
    *,
    port: int = 0,
    tokens: Mapping[str, str] | None = None,
) -> Iterator[Hub]:
    """A localhub in a subprocess, answering when the block begins and stopped when it ends.

    It also stops when this process dies, however that happens. What it logs is in `localhub.log` in
    the folder. Arguments and errors as for `serve`.
    """
    root = _root(dir)
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "simmerge_hub.localhub", f"--dir={root}", f"--port={port}"]
    command += [f"--token={name}={token}" for name, token in (tokens or {}).items()]
    command += ["--exit-with-parent"]
    with (root / "localhub.log").open("a+") as log:
        start = log.seek(0, 2)
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        with process:
            try:
                yield _wait_for_greeting(process) or _fail(log.name, start)
            finally:
                _stop(process)


def _wait_for_greeting(process: subprocess.Popen[str]) -> Hub | None:
    """The server, once it answers; None when it has died instead."""
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(3)]
    said = dict(line.split("=", 1) for line in lines if "=" in line)
    if len(said) < 3:
        return None
    hub = Hub(
        endpoint=said["HF_ENDPOINT"],
        home=Path(said["HF_HOME"]),
        token=said["HF_TOKEN"],
        pid=process.pid,
    )
    _wait_for_answer(hub.endpoint)
    return hub


def _wait_for_answer(endpoint: str) -> None:
    # Not urllib.request: it would send loopback traffic to a configured proxy.
    deadline = time.monotonic() + STARTUP_SECONDS
    while True:
        connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=STARTUP_SECONDS)
        try:
            connection.request("GET", "/")
            return connection.getresponse().close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise LocalhubError(f"localhub at {endpoint} does not answer: {error}") from error
            time.sleep(0.05)
        finally:
            connection.close()


def _fail(log: str, start: int) -> Hub:
    with open(log) as file:
        file.seek(start)
        said = file.read().strip()
    raise LocalhubError(
        f"localhub did not start: {said.removeprefix('localhub: ') or f'see {log}'}"
    )


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(SHUTDOWN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
