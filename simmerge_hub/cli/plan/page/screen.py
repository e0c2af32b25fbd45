"""A decision on one screen of 80 x 24: advice, bars, how sure and why, what to do next."""

import shlex
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from simmerge_hub.cli import show
from simmerge_hub.planning.words.html import EXPECTED

if TYPE_CHECKING:
    from simmerge_hub.planning.plan import Plan
    from simmerge_hub.planning.words.advice import Tone
    from simmerge_hub.planning.words.decision import Bar, Decision, Other
    from simmerge_hub.publishing.licenses.verdict import Licence

COLOURS: dict["Tone", str] = {"good": "bold green", "careful": "bold yellow", "bad": "bold red"}
CELLS = 25
"""Characters of a bar, of 4 % each; it ends at 100 %."""
LABEL = 14
"""Columns of what stands to the left of a paragraph."""
COLUMN = 12
"""Columns of a task's name above numbers."""
FULL, MAYBE, NONE = "█", "░", "·"


def print_decision(
    plan: "Plan", *, written: str = "", verbose: bool = False, licence: "Licence | None" = None
) -> None:
    """A plan's decision on stdout."""
    decision = plan.decision
    show.OUT.print(Text(f"{decision.advice.headline}.", COLOURS[decision.advice.tone]))
    rows = [("how", decision.method)]
    rows += [
        ("or" if place else "instead", text) for place, text in enumerate(decision.advice.instead)
    ]
    show.OUT.print(show.paragraphs(rows, LABEL))
    show.OUT.print()
    show.OUT.print(Text(f"{EXPECTED}:", "bold"))
    show.OUT.print(_bars(decision))
    show.OUT.print()
    sure = f"{decision.sure} ({decision.status})"
    show.OUT.print(show.paragraphs([("how sure", sure), ("why this", decision.why)], LABEL))
    if decision.others:
        show.OUT.print()
        show.OUT.print(_others(decision.columns, decision.others))
    show.OUT.print()
    rows = [("licence", licence.verdict)] if licence else []
    show.OUT.print(show.paragraphs([*rows, *_next(plan, written, verbose)], LABEL))


def _bars(decision: "Decision") -> Table:
    """One row a task: a bar up to what is expected, shaded up to what is possible."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(min_width=LABEL - 1, max_width=22, no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
    for bar in decision.bars:
        name, expert = Text(f"  {bar.task}"), Text(f"expert {bar.expert}")
        table.add_row(name, *(_drawn(bar)), expert)
    if decision.more:
        table.add_row(Text(f"  and {decision.more} more"))
    return table


def _drawn(bar: "Bar") -> tuple[Text, Text]:
    """The bar, and its numbers; nothing is drawn where nothing is predicted."""
    if bar.spread is None:
        return Text(NONE * CELLS, "dim"), Text("not known")
    middle, low, high = bar.spread
    full, most = (min(CELLS, round(CELLS * value)) for value in (middle, high))
    drawn = Text(FULL * full, "green" if middle >= 0.5 else "yellow")
    drawn.append(MAYBE * (most - full)).append(NONE * (CELLS - most), "dim")
    return drawn, Text(f"{_whole(middle)} % ({_whole(low)}–{_whole(high)})")


def _whole(share: float) -> str:
    return f"{100 * share:.0f}"


def _others(columns: Sequence[str], others: "Sequence[Other]") -> Table:
    """Other merges with what they keep, in order of the first column.

    Names are cut, unless that would make two alike.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    widths = [min(COLUMN, max(5, len(column))) for column in columns]
    room = show.OUT.width - sum(widths) - 2 * len(widths)
    cut = len({other.method[: room - 3] for other in others}) == len(others)
    table.add_column(overflow="ellipsis" if cut else "fold", no_wrap=cut, max_width=room)
    for width in widths:
        table.add_column(justify="right", no_wrap=True, width=width, overflow="ellipsis")
    table.add_row(Text("Other ways", "bold"), *(Text(c, "dim") for c in columns))
    for other in others:
        name = f"  {other.method}"
        name = name if cut else fill(name, room, subsequent_indent="    ")
        table.add_row(Text(name), *map(Text, other.values))
    return table


def _next(plan: "Plan", written: str, verbose: bool) -> list[tuple[str, str]]:
    """What to type now."""
    merge = f"simmerge-hub merge {shlex.quote(written or 'plan.yaml')} -o merged"
    what = "or merge" if plan.decision.advice.tone == "bad" else "next"
    rows = [(what, merge if written else f"add -o plan.yaml, then {merge}")]
    if plan.survey is not None:
        kept, dropped = len(plan.survey.shortlist), len(plan.survey.dropped)
        of = f"of {plan.survey.listed} models in {plan.survey.place}"
        rows.append(("searched", f"{kept} {of}; {dropped} are left out, --verbose says why"))
    if not verbose:
        where = f", or read {written}" if written else ""
        rows.append(("more", f"add --verbose{where}"))
    return rows
