"""A decision on one screen of 80 x 24: advice, bars, how sure and why, what to do next."""

import shlex
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from simmerge_hub.cli import show
from simmerge_hub.planning.words.html import EXPECTED
from simmerge_hub.planning.words.names import shorten
from simmerge_hub.units import spell_count, spell_percent, spell_shares

if TYPE_CHECKING:
    from simmerge_hub.planning.plan import Plan
    from simmerge_hub.planning.words.advice import Tone
    from simmerge_hub.planning.words.decision import Bar, Decision, Other
    from simmerge_hub.publishing.licenses.verdict import Licence

COLOURS: dict["Tone", str] = {"good": "bold green", "careful": "bold yellow", "bad": "bold red"}
CELLS = (25, 20, 15, 10)
"""Characters of a bar, which ends at 100 %: as many as leave room for what stands beside it."""
LABEL = 14
"""Columns of what stands to the left of a paragraph."""
LONGEST_LABEL = 22
"""Columns of a task's name before it is folded; above numbers, COLUMN."""
COLUMN = 12
NARROW = 24
"""Columns for names of merges below which they stand under the table."""
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
    bars = decision.bars
    label = max([LABEL - 1, *(cell_len(bar.task) + 2 for bar in bars)])
    label = min(label, LONGEST_LABEL, show.OUT.width // 3)
    middle = max((len(spell_percent(bar.spread[0])) for bar in bars if bar.spread), default=0)
    numbers = [spell_shares(b.spread, middle) if b.spread else "not known" for b in bars]
    left = max(show.OUT.width - label - max(map(len, numbers), default=0) - 3, CELLS[-1] + 1)
    cells, experts = _share(left, [bar.expert for bar in bars])
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(min_width=label)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    for bar, said, expert in zip(bars, numbers, experts, strict=True):
        name = fill(bar.task, label, initial_indent="  ", subsequent_indent="  ")
        table.add_row(Text(name), _drawn(bar, cells), Text(said), Text(fill(expert, left - cells)))
    if decision.more:
        table.add_row(Text(f"  and {decision.more} more"))
    return table


def _share(room: int, experts: Sequence[str]) -> tuple[int, list[str]]:
    """Cells of the bars, and how experts are called beside them: in full, or by their last part
    where that tells them apart; where neither fits they are folded, or left out."""
    short = shorten(list(dict.fromkeys(experts)))
    called = [[f"expert {name}" for name in experts], [f"expert {short(e)}" for e in experts]]
    for cells in CELLS:
        for names in called:
            if cells + max(map(cell_len, names), default=0) <= room:
                return cells, names
    return CELLS[-1], called[-1] if room - CELLS[-1] >= COLUMN else [""] * len(experts)


def _drawn(bar: "Bar", cells: int) -> Text:
    """The bar; nothing is drawn where nothing is predicted."""
    if bar.spread is None:
        return Text(NONE * cells, "dim")
    middle, _, high = bar.spread
    full, most = (min(cells, round(cells * value)) for value in (middle, high))
    drawn = Text(FULL * full, "green" if middle >= 0.5 else "yellow")
    return drawn.append(MAYBE * (most - full)).append(NONE * (cells - most), "dim")


def _others(columns: Sequence[str], others: "Sequence[Other]") -> Group:
    """Other merges with what they keep, in order of the first column.

    Names are wrapped, never cut; where little room is left for them they are listed below.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    widths = [min(COLUMN, max(5, cell_len(column))) for column in columns]
    room = show.OUT.width - sum(widths) - 2 * len(widths)
    if room < LABEL:
        widths = [min(width, 5) for width in widths]
    numbers = [f"  {number}" for number in range(1, len(others) + 1)] if room < NARROW else []
    table.add_column(min_width=len("Other ways"))
    for width in widths:
        table.add_column(justify="right", width=width, overflow="fold")
    table.add_row(Text("Other ways", "bold"), *(Text(c, "dim") for c in columns))
    names = numbers or [
        fill(f"  {other.method}", room, subsequent_indent="    ") for other in others
    ]
    for name, other in zip(names, others, strict=True):
        table.add_row(Text(name), *map(Text, other.values))
    listed = [(n.strip(), o.method) for n, o in zip(numbers, others, strict=False)]
    return Group(table, show.paragraphs(listed, 6)) if listed else Group(table)


def _next(plan: "Plan", written: str, verbose: bool) -> list[tuple[str, str]]:
    """What to type now."""
    merge = f"simmerge-hub merge {shlex.quote(written or 'plan.yaml')} -o merged"
    what = "or merge" if plan.decision.advice.tone == "bad" else "next"
    rows = [(what, merge if written else f"add -o plan.yaml, then {merge}")]
    if plan.survey is not None:
        kept, dropped = len(plan.survey.shortlist), len(plan.survey.dropped)
        of = f"of {spell_count(plan.survey.listed, 'candidate')} in {plan.survey.place}"
        why = f"; {dropped} left out, --verbose says why" if dropped else ""
        rows.append(("searched", f"{kept} {of}{why}"))
    if not verbose:
        where = f", or read {written}" if written else ""
        rows.append(("more", f"add --verbose{where}"))
    return rows
