"""A figure as a .png or .pdf file, drawn with matplotlib; as .svg without it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simmerge_hub.hub.assets import replace_file
from simmerge_hub.publishing.figures.files import check, content, our_style
from simmerge_hub.publishing.figures.shapes import Box, Dot, Line, Text, corners_of, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simmerge_hub.publishing.figures.shapes import Figure, Shape

PIXELS = 100.0
"""Pixels of a figure to an inch on paper."""
ANCHORS = {"start": "left", "middle": "center", "end": "right"}


def write(figure: Figure, output: str | Path) -> None:
    """Write a figure as a file.

    Args:
        figure: what to draw.
        output: a .png, .svg or .pdf; replaced if it is there.

    Raises:
        OutputError, MissingExtra: see `files.check`.
    """
    path = Path(output)
    check(path)
    kind = path.suffix.lower()
    replace_file(path, to_svg(figure).encode() if kind == ".svg" else paint(figure, kind))


def paint(figure: Figure, kind: str) -> bytes:
    """The figure as a file's content; `kind` is .png or .pdf."""
    from matplotlib.figure import Figure as Canvas

    with our_style():
        width, height = figure.size
        canvas = Canvas(figsize=(width / PIXELS, height / PIXELS))
        axes = canvas.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        for order, shape in enumerate(figure.shapes):
            _add(axes, shape, order)
        return content(canvas, kind)


def _add(axes: Axes, shape: Shape, order: int) -> None:
    from matplotlib import patches

    match shape:
        case Line(start=(x1, y1), end=(x2, y2)):
            style = "--" if shape.dash else "-"
            axes.plot([x1, x2], [y1, y2], style, color=shape.colour, lw=0.72 * shape.width,
                      zorder=order)  # fmt: skip
        case Box(at=(x, y), size=(width, height)):
            rounded = f"round,pad=0,rounding_size={shape.round}"
            axes.add_patch(
                patches.FancyBboxPatch((x, y), width, height, boxstyle=rounded, fc=shape.fill,
                                       ec=shape.edge or "none", zorder=order)
            )  # fmt: skip
        case Dot(square=False):
            circle = patches.Circle(shape.at, shape.radius, fc=shape.fill, zorder=order)
            axes.add_patch(circle)
        case Dot():
            square = patches.Polygon(list(corners_of(shape)), fc=shape.fill, zorder=order)
            axes.add_patch(square)
        case Text(at=(x, y)):
            axes.text(x, y, shape.text, fontsize=0.72 * shape.size, color=shape.colour,
                      ha=ANCHORS[shape.anchor], fontweight="bold" if shape.bold else "normal",
                      zorder=order)  # fmt: skip
