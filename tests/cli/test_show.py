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
        lazy = show.LazyConsole(stderr=False)
        lazy.console = Console(file=written, width=400)
        monkeypatch.setattr(show, name, lazy)
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
    tasks = ["a", "b", HOSTILE]

    def entry(own: str | None, *scores: float) -> SimpleNamespace:
        told = {name: {"exact_match": score} for name, score in zip(tasks, scores, strict=True)}
        spec = {"task": own} if own else {}
        return SimpleNamespace(scores=told, spec=spec, kept=own != HOSTILE, delta_ratio=0.1)

    models = {
        HOSTILE: entry(None, 0.0, 0.0, 0.0),
        "good": entry("a", 0.91, 0.12, 0.34),
        "alone": entry("b", 0.0, 0.56, 0.0),
        "weak": entry(HOSTILE, 0.78, 0.0, 0.01),
    }
    manifest: Any = SimpleNamespace(name=HOSTILE, tasks=tasks, models=models)
    show.scores(manifest)
    told = [" ".join(line.replace("│", " ").split()) for line in out.getvalue().splitlines()]
    assert out.getvalue().count(HOSTILE) == 4
    for line in (
        f"{HOSTILE} 0.100 – – – –",
        f"good 0.100 a 0.91 {HOSTILE} 0.34",
        "alone 0.100 b 0.56 – –",
        f"weak (dropped) 0.100 {HOSTILE} 0.01 a 0.78",
    ):
        assert line in told


def test_notes_and_what_is_being_done(out: io.StringIO) -> None:
    show.note(HOSTILE)
    assert out.getvalue() == f"{HOSTILE}\n"
    with show.status(HOSTILE) as say:
        say(HOSTILE)
    with show.progress(HOSTILE) as step:
        step(HOSTILE, 1, 1)
