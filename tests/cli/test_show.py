"""Text of others is printed as it is: rich reads no markup in it."""

import io
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from simmerge_hub.cli import results, show
from simmerge_hub.errors import RequestError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.signatures.signing import request
from tests import nano

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
    results.answers([asked], {HOSTILE: [HOSTILE], "other": [f"not {HOSTILE}"]})
    assert out.getvalue().count(HOSTILE) == 6


@pytest.mark.parametrize("width", [60, 80, 120])
def test_answers_cut_no_name(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(show, "OUT", Console(file=written, width=width))
    prompts = {"math": ("math d 2664>", "5337"), "multilingual": ("say kel:dgtfo>", "cfytl")}
    asked: Any = [SimpleNamespace(task=t, prompt=p, answer=a) for t, (p, a) in prompts.items()]
    names = ("nano/math", "nano/multilingual", "nano/math-multilingual")
    results.answers(asked, {name: ["5337", "cfytl"] for name in names})
    assert "…" not in written.getvalue()
    assert max(map(len, written.getvalue().splitlines())) <= width
    rows = [row.replace("│", " ").split() for row in written.getvalue().splitlines()]
    if width >= 80:
        for name in names:
            assert [name, "5337", "1", "of", "1", "cfytl", "1", "of", "1"] in rows


def test_a_card_s_tables_cut_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(show, "OUT", Console(file=written, width=40))
    name = "task_arithmetic(scale=0.4,weights=0.7/0.3)"
    results.card(f"---\na: b\n---\n| merge | mean |\n| --- | --- |\n| {name} | 0.78 |\n")
    assert "…" not in written.getvalue()
    text = "".join(written.getvalue().replace("0.78", "").split())
    assert name in text


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
    results.scores(manifest)
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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_of_somebody_else_stands_in_our_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its states was a row of its own: hundreds for one evaluation."""
    from tqdm import tqdm

    seen = Terminal()
    monkeypatch.setattr("sys.stderr", seen)
    monkeypatch.setattr(show, "REST", show.LazyConsole(stderr=True))
    monkeypatch.setenv("TERM", "xterm")
    for shown in (show.status("evaluating"), show.progress("learning")):
        seen.truncate(0)
        with shown as say:
            assert sys.stderr is not seen
            for _ in tqdm(range(40), desc="Running requests", mininterval=0):
                pass
            sys.stderr.write("said\n")
            del say
        assert sys.stderr is seen
        assert "it/s" not in seen.getvalue()
        assert "said" in seen.getvalue()
        assert seen.getvalue().count("\n") < 5


def test_much_is_downloaded_only_if_a_person_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    much = show.ASKED_ABOVE + 1
    for answer, refused in (("y\n", False), ("\n", True), ("no\n", True)):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        monkeypatch.setattr("sys.stderr", Terminal())
        with pytest.raises(RequestError) if refused else nullcontext():
            show.ask_before(much, "", yes=False)
    show.ask_before(much, "", yes=True)
    show.ask_before(show.ASKED_ABOVE, "", yes=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    show.ask_before(much, "", yes=False)


def test_one_question_is_asked_before_models_are_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said before a download asks, once; a no leaves the models where they are."""
    folder = nano.save(tmp_path / "model", nano.weights())
    monkeypatch.setattr(request, "_bytes_to_download", lambda _: show.ASKED_ABOVE + 1)
    wanted = request.Request(checkpoint=resolve(str(folder)))
    asked = Terminal()
    monkeypatch.setattr("sys.stderr", asked)
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    with show.asking(yes=False):
        wanted.announce_download(None, None)
        wanted.announce_download(None, None)
    assert asked.getvalue().count("10.0 GB are to be downloaded to run model") == 1
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    with show.asking(yes=False), pytest.raises(RequestError):
        wanted.announce_download(None, None)
    with show.asking(yes=True):
        wanted.announce_download(None, None)
    wanted.announce_download(None, None)  # from Python nobody is asked


def test_a_name_longer_than_a_row_goes_on_after_a_hyphen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(show, "OUT", show.LazyConsole(stderr=False))
    name = "some-organisation/qwen3-4b-mathematics-specialist"
    show.OUT.print(show.paragraphs([("how", f"the mean of {name} + a-b")], 12))
    rows = [row[12:].strip() for row in capsys.readouterr().out.splitlines()]
    assert rows == ["the mean of", "some-organisation/qwen3-4b-", "mathematics-specialist + a-b"]
