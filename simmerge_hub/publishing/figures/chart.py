"""What a merge keeps of each skill as a figure: what was predicted, and what was measured since."""

from collections.abc import Iterable, Iterator, Sequence

from simmerge_hub.publishing.figures.shapes import (
    INK,
    PALE,
    Box,
    Dot,
    Figure,
    Line,
    Shape,
    Text,
    cut,
)
from simmerge_hub.publishing.trust.results import Kept
from simmerge_hub.units import Spread, spell_percent, spell_shares

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
LEAST_SCALE = 1.1
"""A chart's scale reaches so far at least: to the right of `as good as the expert`."""
MOST_SCALE = 2.0
BAND, EXPECTED, SEEN, EXPERT = "#b6d4ee", "#0072b2", "#d55e00", "#57606a"
LEFT, TRACK, RIGHT, TOP, ROW, FOOT = 190.0, 330.0, 150.0, 46.0, 44.0, 52.0
"""Widths of names, of the scale and of numbers; heights above, of a row and below."""
TASKS_DRAWN = 12
NAME_LETTERS, NAME_LETTERS_TOLD = 22, 60
"""Of a name in the picture, and in the words for it."""
HEADING = "What the merge keeps of the score of each expert"


def scale_of(values: Iterable[float]) -> float:
    """How far the scale of a chart reaches that shows these utilities."""
    return max(LEAST_SCALE, *(min(value, MOST_SCALE) for value in values), 0.0)


def has_chart(results: Sequence[Kept]) -> bool:
    """Whether there is anything to draw."""
    return any(_is_drawn(kept) for kept in results)


def draw_chart(results: Sequence[Kept], status: str = "") -> Figure:
    """The chart: a row a task, a dot where it should land, a band for how sure, and a square where
    it was measured.

    Args:
        results: tasks that were predicted or measured; at least one that `has_chart`.
        status: how far the predictions are to be believed.
    """
    drawn = [kept for kept in results if _is_drawn(kept)][:TASKS_DRAWN]
    scale = scale_of(value for kept in drawn for value in _values(kept))
    foot = TOP + ROW * len(drawn)
    shapes: list[Shape] = [Text(at=(12, 26), text=HEADING, size=15, bold=True)]
    shapes += _axis(scale, foot)
    for number, kept in enumerate(drawn):
        shapes += _row(kept, scale, TOP + ROW * number)
    seen = any(kept.measured is not None for kept in drawn)
    shapes += _legend(foot + 42, status, seen=seen)
    size = (LEFT + TRACK + RIGHT, foot + FOOT)
    return Figure(size=size, shapes=tuple(shapes), words=tell_chart(results))


def tell_chart(results: Sequence[Kept]) -> str:
    """What the chart shows, in words."""
    drawn = [kept for kept in results if _is_drawn(kept)][:TASKS_DRAWN]
    return f"Chart. {HEADING}. {'; '.join(map(_tell, drawn))}."


def _tell(kept: Kept) -> str:
    said = []
    if kept.predicted:
        middle, low, high = map(spell_percent, kept.predicted)
        said.append(f"expected {middle}, between {low} and {high}")
    if kept.measured is not None:
        said.append(f"measured {spell_percent(kept.measured)}")
    return f"{cut(kept.task, NAME_LETTERS_TOLD)}: {', '.join(said)}"


def _is_drawn(kept: Kept) -> bool:
    return kept.predicted is not None or kept.measured is not None


def _values(kept: Kept) -> tuple[float, ...]:
    measured = () if kept.measured is None else (kept.measured,)
    return (*(kept.predicted or ()), *measured)


def _row(kept: Kept, scale: float, top: float) -> Iterator[Shape]:
    middle = top + ROW / 2
    yield Text(at=(12, middle - 1), text=cut(kept.task, NAME_LETTERS), bold=True)
    if kept.expert:
        expert = cut(f"expert {kept.expert}", NAME_LETTERS + 8)
        yield Text(at=(12, middle + 14), text=expert, size=10.5, colour=PALE)
    if kept.predicted:
        yield from _predicted(kept.predicted, scale, middle, alone=kept.measured is None)
    if kept.measured is not None:
        beside = kept.predicted is not None
        yield Dot(at=(_x(kept.measured, scale), middle), radius=6, fill=SEEN, square=True)
        yield Text(
            at=(LEFT + TRACK + 14, middle + (14 if beside else 4)),
            text=f"{spell_percent(kept.measured)} measured", colour=SEEN, bold=True,
        )  # fmt: skip


def _predicted(spread: Spread, scale: float, middle: float, *, alone: bool) -> Iterator[Shape]:
    expected, low, high = spread
    start, end = _x(low, scale), _x(high, scale)
    yield Box(at=(start, middle - 8), size=(end - start, 16), fill=BAND, round=4)
    yield Dot(at=(_x(expected, scale), middle), radius=5.5, fill=EXPECTED)
    yield Text(
        at=(LEFT + TRACK + 14, middle + (4 if alone else -3)),
        text=spell_shares(spread), colour=EXPECTED, bold=alone,
    )  # fmt: skip


def _axis(scale: float, foot: float) -> Iterator[Shape]:
    for tick in TICKS:
        if tick > scale:
            break
        x, one = _x(tick, scale), tick == 1.0
        yield Line(
            start=(x, TOP - 6), end=(x, foot), colour=EXPERT if one else "#e4e7eb",
            width=1.5 if one else 1.0, dash=4 if one else 0,
        )  # fmt: skip
        yield Text(
            at=(x, foot + 14), text=spell_percent(tick), size=10.5, anchor="middle",
            colour=INK if one else PALE,
        )  # fmt: skip


def _legend(top: float, status: str, *, seen: bool) -> Iterator[Shape]:
    yield Dot(at=(18, top - 4), radius=4.5, fill=EXPECTED)
    yield Text(at=(28, top), text="expected, and how sure", size=11, colour=PALE)
    at = 190.0
    if seen:
        yield Dot(at=(at, top - 4), radius=5, fill=SEEN, square=True)
        yield Text(at=(at + 10, top), text="measured", size=11, colour=PALE)
        at += 90
    yield Line(start=(at - 6, top - 4), end=(at + 12, top - 4), colour=EXPERT, width=1.5, dash=4)
    yield Text(at=(at + 18, top), text="as good as the expert", size=11, colour=PALE)
    if status:
        right = LEFT + TRACK + RIGHT - 12
        yield Text(at=(right, top), text=status, size=11, colour=PALE, anchor="end")


def _x(value: float, scale: float) -> float:
    return LEFT + TRACK * min(max(value / scale, 0.0), 1.0)
