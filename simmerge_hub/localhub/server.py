"""The process that serves an application on loopback until it is told to stop.

Knows nothing about what is served.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import uvicorn

from simmerge_hub.localhub.application import LOOPBACK, Pulse, application
from simmerge_hub.localhub.errors import LocalhubError
from simmerge_hub.localhub.store import storage
from simmerge_hub.localhub.store.accounts import OWNER, OWNER_TOKEN


def run(
    root: Path, *, port: int, idle: float | None, tokens: Mapping[str, str], exit_with_parent: bool
) -> None:
    """Serve a storage folder until SIGTERM, SIGINT, idleness, or the end of stdin when so asked."""
    with storage.claim(root), _listen(port) as listener:
        pulse = Pulse(application(root, tokens))
        server = uvicorn.Server(_settings(pulse))
        # uvicorn catches signals only while it runs, and repeats them to these handlers afterwards.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: _stop(server))
        if idle is not None:
            _stop_after(lambda: _wait_idle(pulse, idle), server)
        if exit_with_parent:
            _stop_after(_wait_for_end_of_stdin, server)
        _announce(root, listener.getsockname()[1], tokens.get(OWNER, OWNER_TOKEN))
        server.run(sockets=[listener])


def _settings(pulse: Pulse) -> uvicorn.Config:
    return uvicorn.Config(
        pulse,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        # Longer than clients keep idle connections: they must not meet one that is just closing.
        timeout_keep_alive=600,
        timeout_graceful_shutdown=3,
    )


def _announce(root: Path, port: int, token: str) -> None:
    """Print what a client needs, ready for `export` or `eval`: the output of this command."""
    lines = (
        f"HF_ENDPOINT=http://{LOOPBACK}:{port}",
        f"HF_HOME={root / 'client'}",
        f"HF_TOKEN={token}",
    )
    print("\n".join(lines), flush=True)  # noqa: T201


def _listen(port: int) -> socket.socket:
    # The protocol must be named: asyncio sets TCP_NODELAY only then, worth 40 ms on each reply.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or "ports are numbers from 0 to 65535"
        raise LocalhubError(f"cannot listen on port {port}: {why}; choose another --port") from None
    listener.listen(128)
    return listener


def _stop_after(wait: Callable[[], None], server: uvicorn.Server) -> None:
    """Stop the server once `wait` has returned."""

    def watch() -> None:
        wait()
        _stop(server)

    threading.Thread(target=watch, daemon=True).start()


def _wait_idle(pulse: Pulse, seconds: float) -> None:
    while pulse.idle() < seconds:
        time.sleep(min(1.0, seconds / 4))


def _wait_for_end_of_stdin() -> None:
    # Not sys.stdin: a thread that holds its lock would break the interpreter's shutdown.
    while os.read(0, 4096):
        pass


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True
