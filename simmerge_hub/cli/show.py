"""How things look: tables and cards on stdout, progress on stderr (rich)."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from simmerge_hub.operators import Operator
    from simmerge_hub.planning.plan import Plan
    from simmerge_hub.zoo.answers import Question
    from simmerge_hub.zoo.gates import Gates
    from simmerge_hub.zoo.manifest import Manifest

OUT = Console()
REST = Console(stderr=True)
SPACES = {
    "weight": "on weights",
    "delta": "on deltas from a base",
    "anchored": "taken into a base",
}
STATUS = {"calibrated": "green", "extrapolated": "yellow", "abstained": "red"}


def data(value: Any) -> None:
    """JSON to stdout, for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """A line for people, to stderr."""
    REST.print(text, highlight=False, soft_wrap=True)


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr; yields the function that says what is being done now."""
    with REST.status(what) as spinner:
        yield lambda doing: spinner.update(f"{what}: {doing}")


@contextmanager
def progress(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr; yields a function of (item, done, all)."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        TextColumn("{task.description}"),
        console=REST,
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


def plan(made: "Plan") -> None:
    """The plan as a table: every arm, its predicted gap closed, and why the first was chosen."""
    tasks = [task.name for task in made.tasks]
    table = Table(title=f"Predicted gap closed, {' + '.join(m.name for m in made.recipe.models)}")
    table.add_column("operator")
    for column in ("mean", *tasks):
        table.add_column(column, justify="right")
    for choice in made.decision.choices:
        cells = [interval((choice.utility, choice.low, choice.high))]
        cells += [interval(choice.tasks[task]) for task in tasks]
        chosen = choice is made.best
        table.add_row(
            f"{'➜ ' if chosen else '  '}{choice.arm.label}", *cells, style="bold" if chosen else ""
        )
    OUT.print(table)
    for task in made.tasks:
        OUT.print(f"{task.name}: the expert is {task.expert}", highlight=False)
    for what, reason in made.left_out.items():
        OUT.print(f"left out: {what}: {reason}", highlight=False)
    OUT.print(
        f"[{STATUS[made.decision.status]}]{made.decision.status}[/]: {made.decision.reason}",
        highlight=False,
    )


def operators(found: "Iterable[Operator]") -> None:
    """The catalogue, one operator in three lines."""
    for each in found:
        least, most = each.models
        noun = "model" if most == 1 else "models"
        count = f"{least} {noun}" if least == most else f"{least} or more {noun}"
        what = SPACES[each.space]
        parameters = ", ".join(
            f"{k}={'|'.join(sorted(each.choices.get(k, ()), key=v.__ne__)) or v}"
            for k, v in each.parameters.items()
        )
        OUT.print(f"[bold]{each.name}[/]  {each.summary}", highlight=False, soft_wrap=True)
        OUT.print(f"    {count}, {what}", highlight=False)
        if parameters:
            OUT.print(f"    {parameters}", highlight=False, markup=False, soft_wrap=True)
        OUT.print(f"    {each.paper}", style="dim", highlight=False)


def card(text: str) -> None:
    """A model card, rendered."""
    OUT.print(Markdown(text.partition("\n---\n")[2]))


def scores(manifest: "Manifest") -> None:
    """Exact match of every model of a zoo on every task."""
    table = Table(title=f"Exact match, {manifest.name}")
    for column in ("model", "delta", *manifest.tasks):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, entry in manifest.models.items():
        cells = [f"{entry.scores[t]['exact_match']:.2f}" for t in manifest.tasks]
        kept = "" if entry.kept else " (dropped)"
        table.add_row(f"{name}{kept}", f"{entry.delta_ratio:.3f}", *cells)
    OUT.print(table)


def gates(found: "Gates") -> None:
    """Whether a table of outcomes leaves a selector anything to win."""
    table = Table(title="Is there anything to select?", show_header=False)
    rows = {**asdict(found), "headroom": found.headroom}
    wins = rows.pop("wins")
    for name, value in rows.items():
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        table.add_row(name.replace("_", " "), text)
    for label, share in wins.items():
        table.add_row(f"won by {label}", f"{share:.0%}")
    OUT.print(table)


def report(found: Mapping[str, Any]) -> None:
    """How a predictor does on held-out models, beside everything simpler."""
    for name, one in found["sets"].items():
        table = Table(title=f"Share of the gap closed on held-out models, arms: {name}")
        table.add_column("strategy")
        table.add_column("mean (95 %)", justify="right")
        ordered = sorted(one["strategies"].items(), key=lambda item: item[1]["mean"])
        for strategy, spread in ordered:
            bold = "bold" if strategy == "xgboost" else ""
            table.add_row(strategy, _spread(spread), style=bold)
        OUT.print(table)
        captured = one["headroom captured"]
        if captured:
            OUT.print(f"headroom captured: {_spread(captured)}", highlight=False)
        OUT.print(f"over best fixed: {_spread(one['over best fixed'])}", highlight=False)


def answers(questions: "Sequence[Question]", found: Mapping[str, list[str]]) -> None:
    """What each model says to each question; right answers in green."""
    table = Table("task", "prompt", "right answer", *found)
    for place, asked in enumerate(questions):
        cells = [
            f"[green]{said[place]}[/]" if said[place] == asked.answer else said[place]
            for said in found.values()
        ]
        table.add_row(asked.task, asked.prompt, asked.answer, *cells)
    OUT.print(table)


def interval(values: tuple[float, float, float]) -> str:
    """`0.81 (0.70–0.95)`."""
    middle, low, high = values
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def _spread(found: Mapping[str, float]) -> str:
    return interval((found["mean"], found["low"], found["high"]))
