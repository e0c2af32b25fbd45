"""What README says a terminal shows is what it shows: lines in order, `…` for those left out."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from simmerge_hub.cli import show
from simmerge_hub.cli.main import main

ROOT = Path(__file__).parents[2]
TRANSCRIPT = re.compile(
    r"^```text\n\$ simmerge-hub (?P<command>.+)\n(?P<lines>(?:.*\n)*?)```$", re.M
)
PAGES = ("README.md", "docs/tutorial/first-merge.md")


def transcripts() -> Iterator[tuple[str, str, list[str]]]:
    """Page, command and lines of every transcript."""
    for page in PAGES:
        for each in TRANSCRIPT.finditer((ROOT / page).read_text("utf-8")):
            yield page, each["command"], each["lines"].splitlines()


def test_pages_have_transcripts() -> None:
    assert {page for page, _, _ in transcripts()} == set(PAGES)


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize(("command", "lines"), {(c, "\n".join(t)) for _, c, t in transcripts()})
def test_a_terminal_shows_what_the_page_says(
    command: str, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(show, "OUT", Console(file=out, width=80))
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 0
    seen = [line.rstrip() for line in out.getvalue().splitlines()]
    at = 0
    for number, line in enumerate(lines.splitlines()):
        if line.strip() == "…":
            continue
        left_out = number and lines.splitlines()[number - 1].strip() == "…"
        place = seen.index(line, at) if left_out else at
        assert seen[place] == line
        at = place + 1
