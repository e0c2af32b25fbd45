"""How things look: tables and cards on stdout, progress on stderr (rich).

Names, answers and reasons are text of others: `escape` keeps rich from reading markup in them.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from simmerge_hub.merger import Preflight
    from simmerge_hub.operators import Operator
    from simmerge_hub.zoo.answers import Question
    from simmerge_hub.zoo.manifest import Manifest

OUT = Console()
REST = Console(stderr=True)
SPACES = {
    "weight": "on weights",
    "delta": "on deltas from a base",
    "anchored": "taken into a base",
}
SHOWN = 20
"""Misfits that are listed one by one."""


def data(value: Any) -> None:
    """JSON to stdout, for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


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
    columns = (TextColumn(escape(what)), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        TextColumn("{task.description}", markup=False),
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


def origins(parts: Mapping[str, str]) -> str:
    """Where the parts of a signature came from: `weights, code from the cache; math computed`."""
    told = {"cache": "from the cache", "computed": "computed"}
    grouped: dict[str, list[str]] = {}
    for part, origin in parts.items():
        grouped.setdefault(told.get(origin, f"from {origin}"), []).append(part)
    return "; ".join(f"{', '.join(names)} {origin}" for origin, names in grouped.items())


def preflight(found: "Preflight") -> None:
    """What a merge needs: each input, the output, and what does not fit."""
    recipe = found.layout.recipe
    table = Table(title=escape(f"{' → '.join(recipe.operators)}, to {recipe.dtype}"))
    for column in ("input", "size", "to download"):
        table.add_column(column, justify="left" if column == "input" else "right")
    for need in found.needs:
        table.add_row(escape(need.name), size(need.size), size(need.download))
    OUT.print(table)
    for each in found.rejected[:SHOWN]:
        OUT.print(f"does not fit: {each.model}: {each.name} {each.reason}", markup=False)
    if len(found.rejected) > SHOWN:
        OUT.print(f"... and {len(found.rejected) - SHOWN} more", markup=False)
    for decided in found.layout.notes:
        OUT.print(f"note: {decided}", highlight=False, markup=False)
    lines = {
        "output": f"{len(found.layout.entries):,} tensors, {size(found.output)}",
        "disk": f"{size(found.disk)}, with --evict {size(found.disk_evicting)}",
        "memory": f"about {size(found.memory)} at {found.threads} threads",
        "time": f"about {found.seconds:,.1f} s of arithmetic; reading, writing and downloading "
        "come on top",
    }
    for what, text in lines.items():
        OUT.print(f"[bold]{what:7}[/] {text}", highlight=False)


def size(count: int) -> str:
    """Bytes in the unit that suits."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


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
        heading = f"[bold]{escape(each.name)}[/]  {escape(each.summary)}"
        OUT.print(heading, highlight=False, soft_wrap=True)
        OUT.print(f"    {count}, {what}", highlight=False)
        if parameters:
            OUT.print(f"    {parameters}", highlight=False, markup=False, soft_wrap=True)
        OUT.print(f"    {each.paper}", style="dim", highlight=False, markup=False)


def card(text: str) -> None:
    """A model card, rendered."""
    from rich.markdown import Markdown  # 30 ms that only the demo needs

    OUT.print(Markdown(text.partition("\n---\n")[2]))


def scores(manifest: "Manifest") -> None:
    """Exact match of every model of a zoo on its own task, and on the best of the others."""
    table = Table(title=escape(f"Exact match, {manifest.name}"))
    for column in ("model", "delta", "its task", "exact match", "best other task", "there"):
        left = column in ("model", "its task", "best other task")
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    for name, entry in manifest.models.items():
        found = {task: entry.scores[task]["exact_match"] for task in manifest.tasks}
        own = str(entry.spec.get("task", ""))
        score = found.pop(own, None)
        other = max((task for task in found if found[task]), key=found.__getitem__, default=None)
        table.add_row(
            escape(f"{name}{'' if entry.kept else ' (dropped)'}"),
            f"{entry.delta_ratio:.3f}",
            escape(own or "–"),
            "–" if score is None else f"{score:.2f}",
            escape(other or "–"),
            "–" if other is None else f"{found[other]:.2f}",
        )
    OUT.print(table)


def gates(report: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Whether a table of outcomes leaves a selector anything to win, in every regime."""
    table = Table(title="Is there anything to select? (share of the gap closed)")
    for column in ("regime", "arms", "best fixed arm"):
        table.add_column(column)
    numbers = ("rows", "base_closes", "tie_share", "fixed", "oracle", "split_half", "headroom")
    for column in numbers:
        table.add_column(column.replace("_", " "), justify="right")
    for regime, sets in report.items():
        for name, found in sets.items():
            cells = [f"{v:.3f}" if isinstance(v := found[n], float) else str(v) for n in numbers]
            table.add_row(escape(regime), name, escape(found["best_fixed"]), *cells)
    OUT.print(table)


def report(found: Mapping[str, Any]) -> None:
    """How a predictor does on held-out models, beside everything simpler."""
    for name, one in found["sets"].items():
        _strategies(f"Gap closed on held-out models, the expert's task, arms: {name}", one)
    for name, one in found["pairs"].items():
        _strategies(f"Gap closed on held-out models, both tasks of a pair, arms: {name}", one)


def _strategies(title: str, one: Mapping[str, Any]) -> None:
    table = Table(title=escape(title))
    table.add_column("strategy")
    table.add_column("mean (95 %)", justify="right")
    for strategy, spread in sorted(one["strategies"].items(), key=lambda item: item[1]["mean"]):
        style = "bold" if strategy == "xgboost" else ""
        table.add_row(escape(strategy), _spread(spread), style=style)
    OUT.print(table)
    if one["headroom captured"]:
        OUT.print(f"headroom captured: {_spread(one['headroom captured'])}", highlight=False)
    OUT.print(f"over best fixed: {_spread(one['over best fixed'])}", highlight=False)


def answers(questions: "Sequence[Question]", found: Mapping[str, list[str]]) -> None:
    """The first question of each task with every model's answer, then how many were right."""
    table = Table("task", "prompt", "right answer", *map(escape, found))
    tasks = list(dict.fromkeys(asked.task for asked in questions))
    for task in tasks:
        places = [i for i, asked in enumerate(questions) if asked.task == task]
        first = questions[places[0]]
        cells = [_answer(said[places[0]], first.answer) for said in found.values()]
        table.add_row(*map(escape, (task, first.prompt, first.answer)), *cells)
        right = [sum(said[i] == questions[i].answer for i in places) for said in found.values()]
        counts = [f"{count} of {len(places)}" for count in right]
        table.add_row("", "[dim]right in all", "", *counts, end_section=True)
    OUT.print(table)


def _answer(said: str, right: str) -> str:
    return f"[green]{escape(said)}[/]" if said == right else escape(said)


def interval(values: tuple[float, float, float]) -> str:
    """`0.81 (0.70–0.95)`."""
    middle, low, high = values
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def _spread(found: Mapping[str, float]) -> str:
    return interval((found["mean"], found["low"], found["high"]))
