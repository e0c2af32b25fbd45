"""The merges of a plan as a chart: a row each, a dot where it should land, a band for how sure."""

from collections.abc import Mapping
from dataclasses import dataclass

from simmerge_hub.planning.choice import Choice
from simmerge_hub.planning.plan import Plan
from simmerge_hub.planning.words.names import name_tree, shorten
from simmerge_hub.publishing.figures.chart import TICKS, scale_of
from simmerge_hub.recipe.why import UNIT
from simmerge_hub.space.markup import NOTHING, Html, element, table
from simmerge_hub.units import Spread, spell_interval

ROWS_SHOWN = 6
"""Merges in the chart; the rest is unfolded."""
MARKS = "▲■◆✚●★"
"""Of the tasks, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A merge as it stands in the chart.

    Args:
        label: what it is called, in words.
        chosen: whether the recipe runs it.
        value: what it is judged by: (middle, low, high).
        tasks: task -> the same.
        note: what else there is to say of it.
    """

    label: str
    chosen: bool
    value: Spread
    tasks: Mapping[str, Spread]
    note: str = ""


def rows(plan: Plan) -> tuple[Row, ...]:
    """The merges that were judged, best first."""
    short = shorten(plan.models)
    return tuple(_row(plan, choice, name_tree(choice.tree, short)) for choice in plan.choices)


def _row(plan: Plan, choice: Choice, label: str) -> Row:
    lacking = plan.verdict.missing(choice)
    notes = [f"keeps {gap:.2f} too little of {task}" for task, gap in lacking.items()]
    notes += ["made and run on the probes"] if choice.label in plan.verdict.tried else []
    return Row(
        label=label,
        chosen=choice is plan.best,
        value=plan.verdict.value(choice),
        tasks=choice.spreads(),
        note="; ".join(notes),
    )


def chart(plan: Plan) -> Html:
    """The chart, its legend, and every number in a table that unfolds."""
    merges = rows(plan)
    tasks = [task.name for task in plan.tasks]
    heading = plan.verdict.objective.heading(tasks)
    scale = scale_of(row.value[2] for row in merges[:ROWS_SHOWN])
    shown, more = merges[:ROWS_SHOWN], merges[ROWS_SHOWN:]
    folded = element(
        "details",
        element("summary", f"{len(more)} more merges"),
        _rows(more, scale, tasks),
    )
    return element(
        "section",
        element("h3", f"What each merge should keep ({heading})"),
        element("p", f"Utility: {UNIT}.", class_="sm-dim"),
        _rows(shown, scale, tasks),
        _axis(scale),
        _legend(tasks, cautious=plan.of_many),
        folded if more else NOTHING,
        element("details", element("summary", "All numbers"), _numbers(merges, tasks, heading)),
        class_=f"sm-chart {plan.verdict.status}",
    )


def _rows(merges: tuple[Row, ...], scale: float, tasks: list[str]) -> Html:
    return element("ol", *(_bar(row, scale, tasks) for row in merges))


def _bar(row: Row, scale: float, tasks: list[str]) -> Html:
    middle, low, high = row.value
    said = f"{row.label}: {middle:.2f}, between {low:.2f} and {high:.2f}"
    band = element("span", class_="sm-band", style=_place(low, high, scale))
    dot = element("span", class_="sm-dot", style=f"left:{_percent(middle, scale)}")
    one = element("span", class_="sm-one", style=f"left:{_percent(1.0, scale)}")
    marks = [
        element(
            "span", MARKS[number % len(MARKS)], class_="sm-mark",
            style=f"left:{_percent(row.tasks[task][0], scale)}",
            title=f"{task}: {row.tasks[task][0]:.2f}",
        )
        for number, task in enumerate(tasks) if len(tasks) > 1
    ]  # fmt: skip
    return element(
        "li",
        element(
            "span", "➜ " if row.chosen else "", row.label,
            element("small", f" {row.note}") if row.note else NOTHING, class_="sm-name",
        ),
        element(
            "span", one, band, dot, *marks, class_="sm-track", role="img", aria_label=said,
            title=said,
        ),
        element("span", f"{middle:.2f}", class_="sm-number"),
        class_="sm-row sm-chosen" if row.chosen else "sm-row",
    )  # fmt: skip


def _axis(scale: float) -> Html:
    ticks = [
        element("span", f"{tick:g}", style=f"left:{_percent(tick, scale)}")
        for tick in TICKS
        if tick <= scale
    ]
    return element(
        "div", element("span", class_="sm-name"), element("span", *ticks, class_="sm-track"),
        element("span", class_="sm-number"), class_="sm-row sm-axis", aria_hidden="true",
    )  # fmt: skip


def _legend(tasks: list[str], *, cautious: bool) -> Html:
    marks = [f"{MARKS[number % len(MARKS)]} {task}" for number, task in enumerate(tasks)]
    said = ["➜ chosen", "● expected", "bar: interval", *(marks if len(tasks) > 1 else [])]
    said += ["dashed line: as good as the expert"]
    said += ["best first by one standard deviation less"] if cautious else []
    return element("p", " · ".join(said), class_="sm-dim")


def _numbers(merges: tuple[Row, ...], tasks: list[str], heading: str) -> Html:
    several = heading not in tasks
    cells = [
        [row.label, *([spell_interval(row.value)] if several else []),
         *(spell_interval(row.tasks[task]) for task in tasks)]
        for row in merges
    ]  # fmt: skip
    return table(["merge", *([heading] if several else []), *tasks], cells)


def _place(low: float, high: float, scale: float) -> str:
    low, high = (min(max(end, 0.0), scale) for end in (low, high))  # a scale has an end
    return f"left:{_percent(low, scale)};width:{_percent(high - low, scale)}"


def _percent(value: float, scale: float) -> str:
    return f"{100 * min(max(value / scale, 0.0), 1.0):.2f}%"
