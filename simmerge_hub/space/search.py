"""Search as one types: of all that a visitor typed, only the last is asked of the Hub."""

from time import sleep
from typing import Any

import gradio as gr

from simmerge_hub.errors import SimmergeError
from simmerge_hub.hub import listing

LETTERS_SEARCHED = 2
"""A search begins with so many letters."""
PAUSE = 0.15
"""Seconds without a letter after which the Hub is asked."""
MOST_VISITORS = 10_000


class Search:
    """The search box; remembers what each visitor typed last, since answers overtake each other."""

    def __init__(self) -> None:
        self._typed: dict[str, str] = {}

    def find(self, request: gr.Request, chosen: list[str] | None, typed: gr.KeyUpData) -> Any:
        """The Hub's models that are called so, as choices; none where the Hub does not answer."""
        visitor, text = str(request.session_hash), str(typed.input_value or "").strip()
        if len(self._typed) > MOST_VISITORS:
            self._typed.clear()
        self._typed[visitor] = text
        sleep(PAUSE)
        if len(text) < LETTERS_SEARCHED or self._typed.get(visitor) != text:
            return gr.skip()
        try:
            names = listing.search(text)
        except SimmergeError:  # planning says it, where it matters
            names = ()
        if self._typed.get(visitor) != text:
            return gr.skip()
        return gr.update(choices=list(dict.fromkeys([*(chosen or []), *names])))
