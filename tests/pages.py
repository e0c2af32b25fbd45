"""The page in a process of its own, for tests that visit it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from simmerge_hub.localhub import Hub

Part = TypeVar("Part")

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "simmerge_hub.cli.main"]
GUEST = "guest"
MOCK_TOKEN = "mock-oauth-token-for-local-dev"
"""What gradio signs everybody in with where it is not really a Space."""
WAIT = 240_000
"""Milliseconds; the machine is shared."""
MODELS = ("nano/code", "nano/math", "nano/multilingual")


def environment(hub: Hub, **more: str) -> dict[str, str]:
    """Of a process that knows this Hub only."""
    own = {n: v for n, v in os.environ.items() if not n.startswith(("HF_", "HUGGING_FACE_"))}
    return {**own, **hub.environment(), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def _listen_to_interrupts() -> None:
    """Who was started in the background of a shell ignores them, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def serving(command: list[str], env: dict[str, str], cwd: Path = ROOT) -> Iterator[str]:
    """Run it until it says where it serves; interrupt it at the end, as a person does."""
    process = subprocess.Popen(
        command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=_listen_to_interrupts,
    )  # fmt: skip
    assert process.stdout is not None
    said = iter(process.stdout.readline, "")
    rest = Thread(target=lambda: [None for _ in said], daemon=True)
    try:
        lines: list[str] = []
        for line in said:
            lines.append(line)
            if "http://" in line:
                break
        else:
            raise AssertionError("".join(lines))
        rest.start()  # a pipe that nobody empties stops whoever writes into it
        yield line[line.index("http://") :].split()[0].rstrip("/")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            if rest.is_alive():
                rest.join()
            process.stdout.close()


def stand_in(part: type[Part], **given: Any) -> Part:
    """A part of the page whose components are their names: gradio builds none."""
    names = {each.name: f"{part.__name__}.{each.name}" for each in fields(part)}  # pyright: ignore[reportArgumentType]
    return part(**{**names, **given})
