"""Text of others is printed as it is: rich reads no markup in it."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from simmerge_hub.cli import show

HOSTILE = "[/x] [red]a[/red]"


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    for name in ("OUT", "REST"):
        monkeypatch.setattr(show, name, Console(file=written, width=400))
    return written


def test_where_the_parts_of_a_signature_came_from() -> None:
    parts = {"weights": "cache", "code": "org/model", "math": "computed", "rag": "cache"}
    told = "weights, rag from the cache; code from org/model; math computed"
    assert show.origins(parts) == told


def test_answers(out: io.StringIO) -> None:
    asked: Any = SimpleNamespace(task=HOSTILE, prompt=HOSTILE, answer=HOSTILE)
    show.answers([asked], {HOSTILE: [HOSTILE], "other": [f"not {HOSTILE}"]})
    assert out.getvalue().count(HOSTILE) == 6


def test_scores(out: io.StringIO) -> None:
    entry = SimpleNamespace(scores={HOSTILE: {"exact_match": 0.5}}, kept=True, delta_ratio=0.1)
    manifest: Any = SimpleNamespace(name=HOSTILE, tasks=[HOSTILE], models={HOSTILE: entry})
    show.scores(manifest)
    assert out.getvalue().count(HOSTILE) == 3


def test_notes_and_what_is_being_done(out: io.StringIO) -> None:
    show.note(HOSTILE)
    assert out.getvalue() == f"{HOSTILE}\n"
    with show.status(HOSTILE) as say:
        say(HOSTILE)
    with show.progress(HOSTILE) as step:
        step(HOSTILE, 1, 1)
