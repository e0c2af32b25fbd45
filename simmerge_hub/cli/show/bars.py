"""Bars of others (tqdm: evaluations, downloads) -> words in the line that says what is done.

rich prints what others write above its own line, each state of a bar in a row of its own: hundreds
for one evaluation.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.file_proxy import FileProxy

from simmerge_hub.progress import Say

if TYPE_CHECKING:
    from rich.console import Console

BAR = re.compile(r"\r\s*(?:([^|\r\n]*?):)?\s*(\d+%)\|")
BETWEEN = re.compile(r"(?:\s|\x1b\[A)*")
"""What is written after a bar, and to move between several."""


class _Caught(FileProxy):
    """Where others write meanwhile; rich leaves such a stream in its place."""

    def __init__(self, console: "Console", tell: Say) -> None:
        super().__init__(console, sys.stderr)
        self._tell, self._in_bar = tell, False

    def write(self, text: str) -> int:
        """A bar is told; what is no bar is printed above."""
        if text.startswith("\r"):
            self._in_bar = True
            if bar := BAR.match(text):
                self._tell(" ".join(filter(None, bar.groups())))
            return len(text)
        if self._in_bar and BETWEEN.fullmatch(text):
            self._tell("")
            return len(text)
        self._in_bar = False
        return super().write(text)


@contextmanager
def caught(console: "Console", tell: Say) -> Iterator[None]:
    """Inside, `tell` is called with `Loading weights 48%` of a bar, and "" when it ends; only where
    a person watches."""
    if not console.is_terminal:
        yield
        return
    before = sys.stderr
    sys.stderr = _Caught(console, tell)
    try:
        yield
    finally:
        sys.stderr = before
