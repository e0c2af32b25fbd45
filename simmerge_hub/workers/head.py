"""The head of a Ray cluster: it is reached, or one error says what is wrong.

Ray refuses in an error whose cause's cause says why, and where the head is gone it ends the process
that asks, a minute later and in its own words. Knows nothing of what the cluster works on.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from simmerge_hub.errors import RequestError

KNOCK_SECONDS = 10.0
HEAD_SECONDS = 15.0
"""How long the head may take to say which nodes there are."""
QUIET = {"RAY_DEDUP_LOGS_SKIP_REGEX": "^", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Environment of Ray: the lines that it does not print, and what spares a warning about GPUs."""
TOKEN = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the token of the "
    "cluster; `ray get-auth-token` on its head says it"
)
VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")
"""In what Ray says of a cluster with other versions: the cluster's come first, then ours."""


def import_ray() -> Any:
    """By name: the checks of this repository run without it. Set before it is imported, these keep
    what it says of its own processes, such as the log of one that died, in its log files."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return import_module("ray")


def reach_head(address: str) -> None:
    """Make this process one that the cluster at `address` works for.

    Raises:
        RequestError: no cluster answers there, or it refuses: a token, another version.
    """
    try:
        _knock(address)
        with warnings.catch_warnings(action="ignore"), _silence():
            import_ray().init(address=address, log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray's own are of no common kind
        raise _explain(address, error) from error


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing is written to stderr: what asks for a cluster below Python says there, each second,
    that it is refused."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def list_nodes() -> list[dict[str, Any]]:
    """What Ray knows of every node, dead ones too.

    It is asked in a thread: the question never returns where the head is gone.

    Raises:
        RequestError: the head does not answer.
    """
    ray, answers = import_ray(), SimpleQueue[Any]()

    def ask() -> None:
        try:
            answers.put(ray.nodes())
        except Exception as error:
            answers.put(error)

    Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=HEAD_SECONDS)
    except Empty:
        raise RequestError(
            f"the head of the Ray cluster at {_head_address()} does not answer any more",
            hint="start the cluster anew and run the same command again: what is recorded is "
            "kept, and it goes on from there",
        ) from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def head_answers() -> bool:
    """Whether this process has a head, and somebody listens there."""
    if not import_ray().is_initialized():  # asked for its address, Ray would look for a cluster
        return False
    with suppress(OSError):
        _knock(_head_address())
        return True
    return False


def _head_address() -> str:
    return str(import_ray().get_runtime_context().gcs_address)


def _knock(address: str) -> None:
    """Raise OSError at once where nothing listens at HOST:PORT: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        bare = host.removeprefix("[").removesuffix("]")  # of an IPv6 address
        socket.create_connection((bare, int(port)), KNOCK_SECONDS).close()


def _explain(address: str, error: Exception) -> RequestError:
    """What is wrong, by the error and all that it came of."""
    whole = " ".join(f"{type(each).__name__}: {each}" for each in _causes(error))
    if "AuthenticationError" in whole:
        return _explain_token(address, whole)
    if "Version mismatch" in whole and len(stated := VERSIONS.findall(whole)) >= 2:
        (ray, python), (ours, our_python) = stated[:2]
        return RequestError(
            f"the cluster at {address} runs Ray {ray} under Python {python}, and this machine "
            f"Ray {ours} under Python {our_python}",
            hint=f"use Python {python} with pip install ray=={ray} here, or ours on all nodes",
        )
    return RequestError(
        f"no Ray cluster at {address}: {' '.join(str(error).split())[:200]}",
        hint="start one with `ray start --head`, or write HOST:PORT of one that runs",
    )


def _explain_token(address: str, said: str) -> RequestError:
    """No token was sent, none is there to send, or another one is wanted."""
    if os.environ.get("RAY_AUTH_MODE") != "token":
        seen = f"the Ray cluster at {address} asks for a token, and none was sent"
    elif "no authentication token was found" in said:
        seen = "RAY_AUTH_MODE is token, and no token is set"
    else:
        seen = f"the Ray cluster at {address} refuses the token that is set"
    return RequestError(seen, hint=TOKEN)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
