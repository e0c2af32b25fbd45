"""How things look: tables and cards on stdout, progress on stderr (rich).

Names, answers and reasons are text of others: `escape` keeps rich from reading markup in them. rich
is imported when something is shown, so that every command can import this room before it is parsed.
"""

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from simmerge_hub.literal import CONTROL, escaped_json, printable
from simmerge_hub.progress import Progress, Say
from simmerge_hub.units import spell_bytes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from simmerge_hub.hub.upload.publish import Commit


class LazyConsole:
    """A rich console that is made when it is first used."""

    def __init__(self, *, stderr: bool) -> None:
        self.stderr = stderr
        self.silent = False

    @cached_property
    def console(self) -> "Console":
        """The console itself."""
        from rich.console import Console
        from rich.segment import Segment

        class Safe(Console):
            """A console that hands no text on which a terminal acts."""

            def render(self, *given: Any, **how: Any) -> "Iterable[Segment]":
                for segment in super().render(*given, **how):
                    if segment.control or not CONTROL.search(segment.text):
                        yield segment
                    else:
                        yield Segment(printable(segment.text), segment.style)

        return Safe(stderr=self.stderr, quiet=self.silent)

    def hush(self, silent: bool) -> None:
        """Print nothing from now on, or print again."""
        self.silent = silent
        if "console" in self.__dict__:
            self.console.quiet = silent

    def __getattr__(self, name: str) -> Any:
        return getattr(self.console, name)


OUT = LazyConsole(stderr=False)
REST = LazyConsole(stderr=True)
WORD = re.compile(r"\s*\S+\s*")
NAME_PART = re.compile(r"[^-/_.]*[-/_.]|[^-/_.]+")
"""A name is broken after one of these."""
WIDEST = 10_000
"""Columns that no table needs."""
ASKED_ABOVE = 10_000_000_000
"""Bytes to download before which a person is asked."""
SPINNERS: list[Any] = []
"""Those that turn now; a question stops them."""


def data(value: Any) -> None:
    """JSON to stdout, for programs."""
    print(escaped_json(json.dumps(value, indent=2, ensure_ascii=False)))


def escape(text: str) -> str:
    """The text with what rich would read as markup taken literally."""
    from rich.markup import escape as quote

    return quote(text)


def make_table(*columns: str, title: str = "") -> "Table":
    """A table with these columns, and maybe more to come; rich reads no markup in the texts."""
    from rich.table import Table

    return Table(*map(escape, columns), title=escape(title) or None)


def fits(table: "Table") -> bool:
    """Whether every cell of a table to be printed on stdout stays in one row."""
    unbounded = OUT.options.update_width(WIDEST)
    return OUT.measure(table, options=unbounded).maximum <= OUT.width


def line(text: "str | Text", *, hang: int = 2) -> None:
    """A line for people, to stdout.

    On a terminal it is wrapped between words, and what follows stands `hang` columns to the right;
    elsewhere it stays one line, for programs that read lines.
    """
    _print(OUT, text, hang)


def note(text: str) -> None:
    """A line for people, to stderr; wrapped as `line`."""
    _print(REST, text, 2)


def message(what: str, text: str) -> None:
    """An error or its hint, to stderr, however quiet the command is."""
    _print(LazyConsole(stderr=True), f"{what}: {text}", len(what) + 2)


def _print(console: Any, text: "str | Text", hang: int) -> None:
    from rich.text import Text

    for part in Text(text).split("\n") if isinstance(text, str) else [text]:
        for row in _wrap(part, console, hang):
            console.print(row, highlight=False, markup=False, soft_wrap=True)


def _wrap(text: "Text", console: Any, hang: int) -> "Iterator[Text]":
    """The rows of a text; words longer than a row stay whole, so that they can be copied."""
    from rich.cells import cell_len
    from rich.text import Text

    if not console.is_terminal:
        yield text
        return
    margin = len(text.plain) - len(text.plain.lstrip(" ")) + hang
    column, breaks = 0, []
    for word in WORD.finditer(text.plain):
        if column > margin and column + cell_len(word[0].rstrip()) > console.width:
            breaks.append(word.start())
            column = margin
        column += cell_len(word[0])
    for number, row in enumerate(text.divide(breaks)):
        row.rstrip()
        yield Text(" " * margin).append_text(row) if number else row


@contextmanager
def status(what: str) -> Iterator[Say]:
    """A spinner on stderr; yields the function that says what is being done now."""
    from simmerge_hub.cli.show.bars import caught

    spinner, now = REST.status(escape(what)), [what]

    def say(doing: str) -> None:
        now[0] = f"{what}: {doing}"
        spinner.update(escape(now[0]))

    with caught(REST.console, lambda bar: spinner.update(escape(_beside(now[0], bar)))), spinner:
        SPINNERS.append(spinner)
        try:
            yield say
        finally:
            SPINNERS.remove(spinner)


def _beside(doing: str, bar: str) -> str:
    """What is done, and how far somebody else's bar is."""
    return f"{doing} ({bar})" if bar else doing


def ask_before(size: int, what: str, *, yes: bool) -> None:
    """On a terminal, ask before much is downloaded.

    Args:
        size: bytes to download.
        what: what for, as the end of a sentence; may be empty.
        yes: ask nothing.

    Raises:
        RequestError: the answer is no.
    """
    from simmerge_hub.errors import RequestError

    if yes or size <= ASKED_ABOVE or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    for spinner in SPINNERS:
        spinner.stop()
    print(f"{spell_bytes(size)} are to be downloaded{what}. Go on? [y/N]", file=sys.stderr)
    if input().strip().lower() not in ("y", "yes"):
        raise RequestError("nothing more was downloaded", hint="--yes asks no more")
    for spinner in SPINNERS:
        spinner.start()


@contextmanager
def asking(*, yes: bool) -> Iterator[None]:
    """Inside, one question is asked before the first model with much to download is run."""
    from simmerge_hub.signatures.signing.request import confirming

    agreed = [yes]

    def ask(model: str, size: int) -> None:
        ask_before(size, f" to run {model}; others may need as much", yes=agreed[0])
        agreed[0] |= size > ASKED_ABOVE

    with confirming(ask):
        yield


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """A bar on stderr; yields a function of (item, done, all)."""
    from rich import progress as rich

    from simmerge_hub.cli.show.bars import caught

    watched = rich.Progress(
        rich.TextColumn(escape(what)),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.description}", markup=False),
        console=REST.console,
        transient=True,
        disable=not REST.is_terminal,
    )
    task, doing, last = watched.add_task("", total=None), [""], [0.0]

    def step(item: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - last[0] > 0.1:
            last[0], doing[0] = now, item
            watched.update(task, completed=done, total=total, description=item)

    def beside(bar: str) -> None:
        watched.update(task, description=_beside(doing[0], bar))

    with caught(REST.console, beside), watched:
        yield step


def styled(text: str, style: str) -> "Text":
    """A text in one style, to which others can be appended."""
    from rich.text import Text

    return Text().append(text, style)


def origins(parts: Mapping[str, str]) -> str:
    """Where the parts of a signature came from: `weights, code from the cache; math computed`."""
    words = {"cache": "from the cache", "computed": "computed"}
    grouped: dict[str, list[str]] = {}
    for part, origin in parts.items():
        grouped.setdefault(words.get(origin, f"from {origin}"), []).append(part)
    return "; ".join(f"{', '.join(names)} {origin}" for origin, names in grouped.items())


def commit(pushed: "Commit") -> None:
    """What was pushed, and where it is seen."""
    said = {
        "commit": "pushed in one commit",
        "pull request": "proposed in a pull request",
        "unchanged": "nothing to push: all of it is there already",
    }
    note(f"{said[pushed.outcome]}, {pushed.oid[:12]}: {pushed.url}")


def paragraphs(rows: "Iterable[tuple[str, str]]", label: int) -> "Table":
    """Words in the first `label` columns, and text that wraps beside them; rich reads no markup in
    either. A name that is longer than a row goes on in the next one after a hyphen or a slash."""
    from rich.table import Table
    from rich.text import Text

    room = max(OUT.width - label, 1)
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=label - 1, no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for left, right in rows:
        grid.add_row(Text(f"  {left}"), Text(_break_names(right, room)))
    return grid


def _break_names(text: str, room: int) -> str:
    """The text with what is longer than a row in several."""

    def split(word: re.Match[str]) -> str:
        rows = [""]
        for part in NAME_PART.findall(word[0]):
            if len(rows[-1] + part) > room:
                rows.append("")
            rows[-1] += part
        return "\n".join(filter(None, rows))

    return re.sub(rf"\S{{{room + 1},}}", split, text)
