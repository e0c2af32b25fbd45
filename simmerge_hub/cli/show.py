"""How things look: tables and cards on stdout, progress on stderr (rich).

Names, answers and reasons are text of others: `escape` keeps rich from reading markup in them. rich
is imported when something is shown, so that every command can import this room before it is parsed.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from simmerge_hub.literal import CONTROL, escaped_json, printable
from simmerge_hub.units import spell_bytes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from simmerge_hub.hub.upload.publish import Commit
    from simmerge_hub.merger import Preflight
    from simmerge_hub.merger.activations.cost import Passes
    from simmerge_hub.operators import Operator
    from simmerge_hub.publishing.licenses.verdict import Licence
    from simmerge_hub.publishing.verify import Verification
    from simmerge_hub.selector.bandit.history import Suggestion
    from simmerge_hub.zoo.answers import Question
    from simmerge_hub.zoo.manifest import Manifest


class LazyConsole:
    """A rich console that is made when it is first used."""

    def __init__(self, *, stderr: bool) -> None:
        self.stderr = stderr

    @cached_property
    def console(self) -> "Console":
        """The console itself."""
        from rich.console import Console
        from rich.segment import Segment

        class Quiet(Console):
            """A console that hands no text on which a terminal acts."""

            def render(self, *given: Any, **how: Any) -> "Iterable[Segment]":
                for segment in super().render(*given, **how):
                    if segment.control or not CONTROL.search(segment.text):
                        yield segment
                    else:
                        yield Segment(printable(segment.text), segment.style)

        return Quiet(stderr=self.stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.console, name)


OUT = LazyConsole(stderr=False)
REST = LazyConsole(stderr=True)
SPACES = {
    "weight": "on weights",
    "delta": "on deltas from a base",
    "anchored": "taken into a base",
}
MISFITS_SHOWN = 20
"""Misfits that are listed one by one."""


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


def line(text: str) -> None:
    """A line for people, to stdout; a terminal wraps it."""
    OUT.print(text, highlight=False, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """A line for people, to stderr."""
    REST.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr; yields the function that says what is being done now."""
    with REST.status(escape(what)) as spinner:
        yield lambda doing: spinner.update(escape(f"{what}: {doing}"))


@contextmanager
def progress(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr; yields a function of (item, done, all)."""
    from rich import progress as rich

    with rich.Progress(
        rich.TextColumn(escape(what)),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.description}", markup=False),
        console=REST.console,
        transient=True,
        disable=not REST.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)
        last = [0.0]

        def step(item: str, done: int, total: int) -> None:
            now = time.monotonic()
            if done == total or now - last[0] > 0.1:
                last[0] = now
                bar.update(task, completed=done, total=total, description=item)

        yield step


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


def verification(seen: "Verification") -> None:
    """The files that are not what the merge wrote, one a line, and how many are."""
    for kind, names in seen.problems.items():
        for name in names:
            line(f"{kind:8}{name}")
    note(f"{seen.match} files are what the merge wrote")


def preflight(plan: "Preflight") -> None:
    """What a merge needs: each input, the output, and what does not fit."""
    recipe = plan.layout.recipe
    table = make_table("input", title=f"{' → '.join(recipe.operators)}, to {recipe.dtype}")
    for column in ("size", "to download"):
        table.add_column(column, justify="right")
    for need in plan.needs:
        table.add_row(escape(need.name), spell_bytes(need.size), spell_bytes(need.download))
    OUT.print(table)
    for misfit in plan.rejected[:MISFITS_SHOWN]:
        OUT.print(f"does not fit: {misfit.model}: {misfit.name} {misfit.reason}", markup=False)
    if len(plan.rejected) > MISFITS_SHOWN:
        OUT.print(f"... and {len(plan.rejected) - MISFITS_SHOWN} more", markup=False)
    for decision in plan.layout.notes:
        OUT.print(f"note: {decision}", highlight=False, markup=False)
    lines = {"runs": _passes(plan.passes)} if plan.passes else {}
    lines |= {
        "output": f"{len(plan.layout.entries):,} tensors, {spell_bytes(plan.output)}",
        "disk": f"{spell_bytes(plan.disk)}, with --evict {spell_bytes(plan.disk_evicting)}",
        "memory": f"about {spell_bytes(plan.memory)} at {plan.threads} threads",
        "time": f"about {plan.seconds:,.1f} s of arithmetic; reading, writing and downloading "
        "come on top",
    }
    for what, text in lines.items():
        OUT.print(f"[bold]{what:7}[/] {text}", highlight=False)


def licence(licence: "Licence") -> None:
    """The verdict on the licence, what each parent asks for, and where it says so."""
    from simmerge_hub.publishing.licenses.verdict import DISCLAIMER

    line(f"licence: {licence.verdict}")
    for said in licence.warnings:
        if said not in licence.conflicts:
            line(f"  {said}")
    for said, source in licence.terms:
        line(f"  {said}{f' ({source})' if source else ''}")
    OUT.print(f"  {DISCLAIMER}", style="dim", highlight=False)


def _passes(passes: "Passes") -> str:
    """What running the models takes."""
    answers = f"answered with up to {passes.answers} tokens each, " if passes.answers else ""
    return (
        f"{', '.join(passes.models)} on {passes.prompts:,} prompts in all, {answers}"
        f"about {passes.tokens:,} tokens: {passes.count} forward passes"
    )


def operators(catalogue: "Iterable[Operator]") -> None:
    """The catalogue, one operator in three lines."""
    for operator in catalogue:
        least, most = operator.models
        noun = "model" if most == 1 else "models"
        count = f"{least} {noun}" if least == most else f"{least} or more {noun}"
        parameters = ", ".join(
            f"{k}={'|'.join(sorted(operator.choices.get(k, ()), key=v.__ne__)) or v}"
            for k, v in operator.parameters.items()
        )
        heading = f"[bold]{escape(operator.name)}[/]  {escape(operator.summary)}"
        OUT.print(heading, highlight=False, soft_wrap=True)
        OUT.print(f"    {count}, {SPACES[operator.space]}", highlight=False)
        if parameters:
            line(f"    {parameters}")
        OUT.print(f"    {operator.paper}", style="dim", highlight=False, markup=False)


def card(text: str) -> None:
    """A model card, rendered."""
    from rich.markdown import Markdown  # 30 ms that only the demo needs

    OUT.print(Markdown(text.partition("\n---\n")[2]))


def scores(manifest: "Manifest") -> None:
    """Exact match of every model of a zoo on its own task, and on the best of the others."""
    table = make_table(title=f"Exact match, {manifest.name}")
    for column in ("model", "delta", "its task", "exact match", "best other task", "there"):
        left = column in ("model", "its task", "best other task")
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    for name, entry in manifest.models.items():
        others = {task: score["exact_match"] for task, score in entry.scores.items()}
        own = str(entry.spec.get("task", ""))
        score = others.pop(own, None)
        best = max((task for task in others if others[task]), key=others.__getitem__, default=None)
        table.add_row(
            escape(f"{name}{'' if entry.kept else ' (dropped)'}"),
            f"{entry.delta_ratio:.3f}",
            escape(own or "–"),
            "–" if score is None else f"{score:.2f}",
            escape(best or "–"),
            "–" if best is None else f"{others[best]:.2f}",
        )
    OUT.print(table)


def gates(report: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Whether a table of outcomes leaves a selector anything to win, in every regime."""
    title = "Is there anything to select? (share of the gap closed)"
    table = make_table("regime", "arms", "best fixed arm", title=title)
    numbers = ("rows", "base_closes", "tie_share", "fixed", "oracle", "split_half", "headroom")
    for column in numbers:
        table.add_column(column.replace("_", " "), justify="right")
    for regime, sets in report.items():
        for name, gate in sets.items():
            cells = [f"{v:.3f}" if isinstance(v := gate[n], float) else str(v) for n in numbers]
            table.add_row(escape(regime), name, escape(gate["best_fixed"]), *cells)
    OUT.print(table)


def report(measured: Mapping[str, Any]) -> None:
    """How a predictor does on held-out models, beside everything simpler."""
    for name, result in measured["sets"].items():
        _strategies(f"Gap closed on held-out models, the expert's task, arms: {name}", result)
    for name, result in measured["pairs"].items():
        _strategies(f"Gap closed on held-out models, both tasks of a pair, arms: {name}", result)


def _strategies(title: str, result: Mapping[str, Any]) -> None:
    table = make_table("strategy", title=title)
    table.add_column("mean (95 %)", justify="right")
    for strategy, mean in sorted(result["strategies"].items(), key=lambda item: item[1]["mean"]):
        style = "bold" if strategy == "xgboost" else ""
        table.add_row(escape(strategy), _mean(mean), style=style)
    OUT.print(table)
    if result["headroom captured"]:
        OUT.print(f"headroom captured: {_mean(result['headroom captured'])}", highlight=False)
    OUT.print(f"over best fixed: {_mean(result['over best fixed'])}", highlight=False)


def answers(questions: "Sequence[Question]", by_model: Mapping[str, list[str]]) -> None:
    """The first question of each task with every model's answer, then how many were right."""
    table = make_table("task", "prompt", "right answer", *by_model)
    for task in dict.fromkeys(question.task for question in questions):
        places = [i for i, question in enumerate(questions) if question.task == task]
        first = questions[places[0]]
        cells = [_answer(texts[places[0]], first.answer) for texts in by_model.values()]
        table.add_row(*map(escape, (task, first.prompt, first.answer)), *cells)
        right = [
            sum(texts[i] == questions[i].answer for i in places) for texts in by_model.values()
        ]
        counts = [f"{count} of {len(places)}" for count in right]
        table.add_row("", "[dim]right in all", "", *counts, end_section=True)
    OUT.print(table)


def _answer(text: str, right: str) -> str:
    return f"[green]{escape(text)}[/]" if text == right else escape(text)


def suggestions(suggestions: "Sequence[Suggestion]") -> None:
    """What to try for each pair, with its chance and what is expected of it."""
    table = make_table()
    for heading in ("id", "task", "expert + auxiliary", "try", "chance", "expected"):
        table.add_column(heading, no_wrap=heading in ("id", "try"), overflow="fold")
    for s in suggestions:
        cells = (s.id, s.task, f"{s.expert} + {s.auxiliary}", s.arm)
        table.add_row(*map(escape, cells), f"{s.chance[s.arm]:.0%}", f"{s.expected:.2f}")
    OUT.print(table)


def arms(where: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """The arms of a bandit and what was learned of each."""
    table = make_table("arm", title=where)
    for heading in ("suggested", "reported", "mean gain"):
        table.add_column(heading, justify="right")
    for label, row in rows.items():
        mean = "" if row["mean"] is None else f"{row['mean']:.2f}"
        name = escape(f"{label}, added" if row["added"] else label)
        table.add_row(name, str(row["suggested"]), str(row["reported"]), mean)
    OUT.print(table)


def interval(values: tuple[float, float, float]) -> str:
    """`0.81 (0.70–0.95)`."""
    middle, low, high = values
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def _mean(estimate: Mapping[str, float]) -> str:
    """A mean with its interval."""
    return interval((estimate["mean"], estimate["low"], estimate["high"]))
