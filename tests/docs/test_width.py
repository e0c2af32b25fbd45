"""No row is wider than a terminal of 80 columns, whatever a command says."""

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from rich.cells import cell_len

from simmerge_hub.cli import show
from simmerge_hub.cli.main import main

COLUMNS = 80
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MODELS = ("nano/code", "nano/math", "nano/multilingual")
STRUCTURAL = ("--signals", "structural")


class Terminal(io.StringIO):
    """What commands write on a terminal, and how they end."""

    def run(self, *command: str) -> int | str | None:
        """The exit code, of wrong usage too."""
        with redirect_stdout(self), redirect_stderr(self):
            try:
                return main(command)
            except SystemExit as ended:
                return ended.code

    def isatty(self) -> bool:
        return True

    def rows(self) -> list[str]:
        """As they are seen, and of what is written over others all."""
        return re.split("[\r\n]", CONTROL.sub("", self.getvalue()))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    """One of 80 columns; the working directory is empty."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, stderr in (("OUT", False), ("REST", True)):
        monkeypatch.setattr(show, name, show.LazyConsole(stderr=stderr))
    monkeypatch.chdir(tmp_path)
    return Terminal()


def assert_narrow(terminal: Terminal) -> None:
    wide = [row for row in terminal.rows() if cell_len(row) > COLUMNS]
    assert not wide, wide


@pytest.mark.usefixtures("zoo")
def test_a_merge_from_plan_to_verify(terminal: Terminal) -> None:
    plan = ("plan", *MODELS[:2], *STRUCTURAL)
    for command in (
        (*plan, "-o", "plan.yaml"),
        (*plan, "--verbose"),
        ("check", "plan.yaml"),
        ("merge", "plan.yaml", "-o", "merged"),
        ("verify", "merged"),
    ):
        assert terminal.run(*command) == 0, terminal.getvalue()
    said = terminal.getvalue()
    assert "keep its copyright notice" in said and "next: simmerge-hub push merged" in said
    assert_narrow(terminal)


@pytest.mark.usefixtures("zoo")
def test_many_models(terminal: Terminal) -> None:
    for command in (
        ("plan", *MODELS, *STRUCTURAL, "--verbose", "--beam", "1"),
        ("map", *MODELS),
        ("sign", "nano/code", *STRUCTURAL),
        ("operators",),
    ):
        assert terminal.run(*command) == 0, terminal.getvalue()
    said = "\n".join(terminal.rows())
    assert "task_arithmetic" in said
    assert re.search(r"^│ ➜ \d +│", said, re.M) and re.search(r"^  1  \w+.*\[", said, re.M)
    assert_narrow(terminal)


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("plan", "nano/cod", "nano/math"), "did you mean nano/code"),
        (("plan", "nano/cod", "nano/math"), "log in: hf auth login"),
        (("merge", "nano/multilingal", "-o", "merged"), "did you mean nano/multilingual"),
        (("plan", "nano/code"), "two models make a merge"),
        (("plan", *MODELS[:2], "--keep", "cooking=0.8", *STRUCTURAL), "cooking"),
        (("check", "there/is/no/such/recipe/in/any/folder/of/this/machine.yaml"), "hint:"),
        (("plam",), "did you mean plan?"),
        (("plan", *MODELS[:2], "--weihgt", "code=2"), "did you mean --weight?"),
        (("plan", *MODELS[:2], "--signals", "ful"), "did you mean full?"),
        (("zoo", "xyz"), "choose from"),
        (("plan", *MODELS[:2], "--collection", "nano/all"), "exclude each other"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_errors(command: tuple[str, ...], said: str, terminal: Terminal) -> None:
    assert terminal.run(*command) in (1, 2)
    assert said in " ".join(" ".join(terminal.rows()).split())
    assert_narrow(terminal)


@pytest.mark.usefixtures("zoo")
def test_quiet_leaves_the_result(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    assert terminal.run("plan", *MODELS[:2], *STRUCTURAL, "-o", "plan.yaml", "--quiet") == 0
    assert "licence" in terminal.getvalue()
    assert "planning" not in terminal.getvalue()
    terminal.truncate(0)
    assert terminal.run("-q", "merge", "plan.yaml", "-o", "merged") == 0
    assert CONTROL.sub("", terminal.getvalue()).strip("\0\n") == ""
    assert terminal.run("-q", "merge", "plan.yaml", "-o", "merged") == 1
    assert "error:" in terminal.getvalue()
