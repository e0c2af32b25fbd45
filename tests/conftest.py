"""One localhub for the whole test run, up before anything imports `huggingface_hub`.

HF_ENDPOINT is frozen when `huggingface_hub` is first imported, so the server starts when pytest
reads this file. HF_HOME is a folder of its own: tests never see the machine's cache or token.
"""

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from simmerge_hub import localhub

# Machines are noisy, and whether a commit passes is not left to chance: `make fuzz` draws anew.
settings.register_profile(
    "shared machine", deadline=None, derandomize="FUZZ_EXAMPLES" not in os.environ
)
settings.load_profile("shared machine")

VISITOR = "visitor"
"""A second user, for private and gated repositories."""

VISITOR_TOKEN = "hf_visitor"

LEFT = "simmerge-hub-tests-"
"""How the folders of test runs begin; the number of the process follows."""

_session = ExitStack()


def _fast() -> str | None:
    """A file system in memory, if there is one with room: a Hub mostly waits for disks."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30 else None


def _sweep(parent: Path) -> None:
    """Remove what test runs that were killed left in memory: their processes are gone."""
    for folder in parent.glob(f"{LEFT}*"):
        owner = folder.name.removeprefix(LEFT).partition("-")[0]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _start() -> localhub.Hub:
    """Start the Hub and point every client in this process at it."""
    if fast := _fast():
        _sweep(Path(fast))
    prefix = f"{LEFT}{os.getpid()}-"
    folder = _session.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=fast))
    running = localhub.running(Path(folder) / "hub", tokens={VISITOR: VISITOR_TOKEN})
    hub = _session.enter_context(running)
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING_FACE_"))]:
        del os.environ[name]
    os.environ.update(hub.environment(), HF_HUB_DISABLE_PROGRESS_BARS="1")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return hub


# Not in pytest_configure: the conftest files of sub-folders are imported before it is called.
_hub = _start()


def pytest_unconfigure() -> None:
    """Stop the Hub and remove what it stored."""
    _session.close()


@pytest.fixture(scope="session")
def hub() -> localhub.Hub:
    """The running Hub, whose owner's token is in the environment."""
    return _hub


@pytest.fixture
def org(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace nobody else uses."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    yield f"{name}-{uuid.uuid4().hex[:8]}"
