"""Every code block of README.md and docs/ runs, in order, page by page.

`bash` blocks run line by line: simmerge-hub in this process, anything else in bash. `python` blocks
of a page share their names. On pages that start a Hub themselves, each block runs in a process of
its own. A block with `title="FILE"` is written to that file. A block that cannot run stands under
`<!-- not run: reason -->`, with one of the reasons below.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "recipes" / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
OWN_HUB = [ROOT / "docs" / "reference" / "localhub.md"]
REASONS = {
    "it costs money",
    "it installs packages",
    "it makes a virtual environment",
    "it needs a cluster",
    "it serves until it is stopped",
    "it trains models for minutes",
    "the tests have a Hub of their own",
    "the names stand for your own models",
}
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?"
    r"```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
RUN = {"bash", "python"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page; `where` is `page:line`."""

    where: str
    language: str
    code: str
    title: str | None
    reason: str | None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(
            where=f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 1}",
            language=found["language"],
            code=found["code"],
            title=found["title"],
            reason=found["reason"],
        )
        for found in FENCE.finditer(text)
    ]


RUNNABLE = [
    p
    for p in PAGES
    if p not in OWN_HUB and any(b.language in RUN and not b.reason for b in blocks(p))
]


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks(page):
        if block.title:
            Path(block.title).write_text(block.code, "utf-8")
        elif block.language == "python" and not block.reason:
            exec(compile(block.code, block.where, "exec"), names)
        elif block.language == "bash" and not block.reason:
            for command in commands(block.code):
                assert run(command) == 0, f"{block.where}: {command}"


@pytest.mark.parametrize("page", OWN_HUB, ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_run_on_their_own_hub(page: Path, tmp_path: Path) -> None:
    runners = {"python": [sys.executable, "-c"], "bash": ["bash", "-ec"]}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    for block in blocks(page):
        if block.language in RUN and not block.reason:
            command = [*runners[block.language], block.code]
            done = subprocess.run(command, cwd=tmp_path, env=environment | with_scripts())
            assert done.returncode == 0, block.where


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_are_skipped_for_stated_reasons_only(page: Path) -> None:
    text = page.read_text("utf-8")
    reasons = re.findall(r"<!-- not run: (.+?) -->", text)
    assert set(reasons) <= REASONS
    assert len(reasons) == sum(b.reason is not None for b in blocks(page)), "a reason has no block"
    assert text.count("\n```") == 2 * len(blocks(page)), "a fence without a language"


def test_the_local_hub_starts_as_the_readme_says(tmp_path: Path) -> None:
    found = {b.reason: b.code for b in blocks(ROOT / "README.md") if b.reason}
    with terminal(found["it serves until it is stopped"], tmp_path):
        wait_for_lines(tmp_path / "hub.env", 3)
        ask = f"{sys.executable} -c \"from huggingface_hub import whoami; print(whoami()['name'])\""
        script = found["the tests have a Hub of their own"] + ask
        said = subprocess.run(
            ["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
    assert said.stdout.strip() == "nano"


def commands(code: str) -> Iterator[str]:
    """The commands of a bash block: lines, joined where they end in a backslash, cut at `&&`."""
    for line in code.replace("\\\n", " ").splitlines():
        yield from (part.strip() for part in line.split(" && ") if part.strip())


def run(command: str) -> int:
    """Run one command; simmerge-hub in this process, which is seconds quicker."""
    if not command.startswith("simmerge-hub "):
        environment = os.environ | with_scripts()
        return subprocess.run(["bash", "-ec", command], env=environment).returncode
    text, _, file = command.partition(" > ")
    arguments = shlex.split(text)[1:]
    if not file:
        return main(arguments)
    with open(file, "w", encoding="utf-8") as out, redirect_stdout(out):
        return main(arguments)


def with_scripts() -> dict[str, str]:
    """A PATH on which the commands of this environment are found first."""
    return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@contextmanager
def terminal(
    script: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A script that runs in bash while inside; it and what it started are then stopped."""
    with subprocess.Popen(
        ["bash", "-ec", script],
        cwd=folder,
        env=environment or os.environ | with_scripts(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def wait_for_lines(path: Path, count: int) -> None:
    """Wait until a file has so many lines."""
    for _ in range(300):
        if path.exists() and len(path.read_text().splitlines()) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"{path.name} did not get {count} lines")
