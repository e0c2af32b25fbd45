"""A figure as a list of shapes, and as the text of an SVG file. Lengths are in pixels.

The same figure gives the same bytes on every machine: no fonts are asked, nothing of matplotlib.
What the Hub leaves of an SVG is all that there is in it: shapes with plain attributes, and text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from simmerge_hub.literal import printable

Anchor = Literal["start", "middle", "end"]
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"
LETTER = 0.6
"""Width of a letter in ems, wider than most: what is reckoned to fit does fit."""
INK, PALE = "#24292f", "#6a737d"
"""Colours of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """From `start` to `end`; `dash` is 0 for a whole line."""

    start: tuple[float, float]
    end: tuple[float, float]
    colour: str = PALE
    width: float = 1.0
    dash: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A filled rectangle, its upper left corner at `at`; `edge` is "" for none."""

    at: tuple[float, float]
    size: tuple[float, float]
    fill: str
    edge: str = ""
    round: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A filled circle around `at`, or a square on its tip."""

    at: tuple[float, float]
    radius: float
    fill: str
    square: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A line of text, its baseline at `at`."""

    at: tuple[float, float]
    text: str
    size: float = 13.0
    colour: str = INK
    anchor: Anchor = "start"
    bold: bool = False


Shape = Line | Box | Dot | Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Shapes, later ones above earlier ones, and what they show in words."""

    size: tuple[float, float]
    shapes: tuple[Shape, ...]
    words: str


def measure_text(text: str, size: float) -> float:
    """About how wide a line of text is, no less."""
    return LETTER * size * sum(2 if ord(letter) > 0x2E80 else 1 for letter in text)


def cut(text: str, letters: int) -> str:
    """A name in one line, its end left out where it is longer."""
    line = " ".join(printable(text).split())
    return line if len(line) <= letters else f"{line[: letters - 1]}…"


def to_svg(figure: Figure) -> str:
    """The figure as the text of an SVG file, on white: cards are read on dark pages too."""
    width, height = map(_number, figure.size)
    words = escape(printable(figure.words))
    background = Box(at=(0, 0), size=figure.size, fill="#ffffff", round=6)
    body = "\n".join(_element(shape) for shape in (background, *figure.shapes))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family={quoteattr(FONT)}>\n'
        f"<title>{words}</title>\n{body}\n</svg>\n"
    )


def _element(shape: Shape) -> str:
    name, attributes, text = _parts(shape)
    written = "".join(
        f" {key}={quoteattr(value if isinstance(value, str) else _number(value))}"
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{escape(text)}</{name}>" if text else f"<{name}{written}/>"


def _parts(shape: Shape) -> tuple[str, Mapping[str, str | float], str]:
    """An element's name, attributes and text."""
    match shape:
        case Line(start=(x1, y1), end=(x2, y2)):
            dash = {"stroke-dasharray": shape.dash} if shape.dash else {}
            stroke = {"stroke": shape.colour, "stroke-width": shape.width}
            return "line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, **stroke, **dash}, ""
        case Box(at=(x, y), size=(width, height)):
            place = {"x": x, "y": y, "width": width, "height": height}
            edge = {"stroke": shape.edge} if shape.edge else {}
            return "rect", {**place, "rx": shape.round, "fill": shape.fill, **edge}, ""
        case Dot(at=(x, y), square=False):
            return "circle", {"cx": x, "cy": y, "r": shape.radius, "fill": shape.fill}, ""
        case Dot():
            corners = " ".join(",".join(map(_number, point)) for point in corners_of(shape))
            return "polygon", {"points": corners, "fill": shape.fill}, ""
        case Text(at=(x, y)):
            look: dict[str, str | float] = {"x": x, "y": y, "font-size": shape.size}
            look |= {"fill": shape.colour, "text-anchor": shape.anchor}
            return (
                "text",
                look | ({"font-weight": "bold"} if shape.bold else {}),
                printable(shape.text),
            )


def corners_of(dot: Dot) -> Iterator[tuple[float, float]]:
    """Of a square on its tip, from the uppermost on."""
    (x, y), reach = dot.at, 1.3 * dot.radius
    yield from ((x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
