"""A map of models as a figure: dendrogram, heat map, and what happens over the depth.

Knows a ModelMap and matplotlib; nothing of signatures or models. One map gives the same bytes each
time, whatever the reader's matplotlibrc says, with the same versions of matplotlib and its fonts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simmerge_hub.hub.assets import replace_file
from simmerge_hub.publishing.figures.files import check, content, our_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from simmerge_hub.signatures.map.linkage import Dendrogram
    from simmerge_hub.signatures.map.similarities import ModelMap

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
"""Okabe & Ito's, which colour-blind people tell apart; grey for their yellow, too pale on white."""
MARKERS = "os^DvPX*"
MISSING_COLOUR = "#E4E4E4"
DELTA_NORM = "delta norm / norm of the base"
LEGEND_BESIDE: dict[str, Any] = {
    "bbox_to_anchor": (1, 1), "borderaxespad": 0, "fontsize": 8, "frameon": False,
    "loc": "upper left", "title_fontsize": 8,
}  # fmt: skip
"""A legend at the right of its axes, where it covers nothing."""
MOST_NUMBERED = 16
"""Models up to which cells hold their number."""
LETTERS_SHOWN = 40
"""Letters of a name that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """How a measure is shown; `span` is the least that the scale of colours covers."""

    label: str
    decimals: int
    span: float
    colours: str


MEASURE_LOOKS = {
    "delta_cosine": _Look(label="delta cosine", decimals=3, span=0.1, colours="cividis"),
    "weight_cosine": _Look(label="weight cosine", decimals=4, span=0.001, colours="cividis"),
    "sign_conflict": _Look(label="sign conflict", decimals=2, span=0.1, colours="cividis_r"),
    "js": _Look(label="JS of behaviour, nats", decimals=3, span=0.01, colours="cividis_r"),
}
"""Bright always means alike."""


def draw(model_map: ModelMap, output: str | Path) -> None:
    """Write the map as a figure.

    Args:
        model_map: at best 2 to 40 models; with more, names become very small.
        output: a .png, .svg or .pdf; replaced if it is there.

    Raises:
        OutputError, MissingExtra: see `figures.files.check`.
    """
    path = Path(output)
    check(path)
    replace_file(path, render(model_map, path.suffix.lower()))


def render(model_map: ModelMap, kind: str) -> bytes:
    """The figure as a file's content; `kind` is .png, .svg or .pdf."""
    with our_style():
        return content(_draw_map(model_map), kind, bbox_inches="tight")


def _draw_map(model_map: ModelMap) -> Figure:
    """The map above, the profiles below if there are layers. Sizes are in inches."""
    from matplotlib.figure import Figure

    count = len(model_map.names)
    maps = [model_map.measure, *(["js"] if "js" in model_map.pairs else [])]
    side, font = min(max(3.0, 0.5 * count), 8.4), 9.0 if count <= MOST_NUMBERED else 7.5
    names = (
        0.6 * font / 72 * min(LETTERS_SHOWN, max(map(len, model_map.names)))
    )  # letters are 0.6 em wide
    width = max(8.0, 2.2 + names + len(maps) * (side + 1.1))
    heights = [side + 1.0, *([2.9] if model_map.layers else [])]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    rows = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    of_what = (
        f" from {_shorten(model_map.base)}: their changes to it"
        if model_map.base
        else ": their weights"
    )
    figure.suptitle(f"{count} models{of_what}", fontsize=11)
    axes = rows[0].subplots(1, 1 + len(maps), width_ratios=[1.4, *[side] * len(maps)])
    _draw_dendrogram(axes[0], model_map.tree, MEASURE_LOOKS[model_map.measure].label)
    for number, measure in enumerate(maps):
        _draw_heat_map(rows[0], axes[1 + number], model_map, measure, font=font, named=number == 0)
    if model_map.layers:
        _draw_profiles(rows[1], model_map)
    return figure


def _draw_dendrogram(axes: Axes, tree: Dendrogram, label: str) -> None:
    """Branches from the root at the left to the models at the right, in the rows of the map."""
    count = len(tree.order)
    row: dict[int, float] = {model: float(i) for i, model in enumerate(tree.order)}
    height = dict.fromkeys(range(count), 0.0)
    for number, merge in enumerate(tree.joins, start=count):
        a, b = merge.nodes
        axes.plot(
            [height[a], merge.height, merge.height, height[b]],
            [row[a], row[a], row[b], row[b]],
            color="0.25", linewidth=1.2, clip_on=False,
        )  # fmt: skip
        row[number], height[number] = (row[a] + row[b]) / 2, merge.height
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlim(1.05 * max(height.values()) or 1.0, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=3)
    axes.tick_params(labelsize=8)
    axes.set_xlabel(f"1 − {label},\nmean over pairs", fontsize=8)


def _draw_heat_map(
    part: SubFigure, axes: Axes, model_map: ModelMap, measure: str, *, font: float, named: bool
) -> None:
    """A square of all pairs, in the order of the tree; the models themselves are left grey."""
    look, order, count = MEASURE_LOOKS[measure], list(model_map.tree.order), len(model_map.names)
    values = model_map.pairs[measure][np.ix_(order, order)].copy()
    np.fill_diagonal(values, np.nan)
    low, high = _limits(values, look.span)
    image = axes.pcolormesh(
        _edges(count), _edges(count), np.ma.masked_invalid(values), cmap=look.colours,
        vmin=low, vmax=high, edgecolors="white", linewidth=1.0 if count <= MOST_NUMBERED else 0.4,
    )  # fmt: skip
    axes.set_facecolor(MISSING_COLOUR)
    axes.set_ylim(count - 0.5, -0.5)
    numbers = [str(i + 1) for i in range(count)]
    names = [
        f"{_shorten(model_map.names[model])}  {n}" for model, n in zip(order, numbers, strict=True)
    ]
    axes.set_xticks(range(count), numbers, fontsize=font)
    axes.set_yticks(range(count), names if named else numbers, fontsize=font)
    axes.tick_params(length=0)
    axes.set_title(look.label, fontsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if count <= MOST_NUMBERED:
        for i, j in zip(*np.nonzero(~np.eye(count, dtype=bool)), strict=True):
            _write_number(axes, image, (int(i), int(j)), float(values[i, j]), look.decimals)
    bar = part.colorbar(image, ax=axes, shrink=0.9, aspect=25, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


def _write_number(axes: Axes, image: Any, at: tuple[int, int], value: float, decimals: int) -> None:
    """The number of a cell, black on bright colours and white on dark ones."""
    missing = not np.isfinite(value)
    red, green, blue = image.cmap(image.norm(value))[:3]
    bright = missing or 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
    text = "–" if missing else f"{value:z.{decimals}f}".replace("-", "−")
    colour = "black" if bright else "white"
    axes.text(at[1], at[0], text, ha="center", va="center", fontsize=8, color=colour)


def _draw_profiles(part: SubFigure, model_map: ModelMap) -> None:
    """Below: how far each model moved, layer by layer, and how the pairs agree there."""
    if model_map.base is None:
        _draw_pairs_over_depth(part.subplots(), model_map, ["weight_cosine"])
        return
    left, right = part.subplots(1, 2)
    if len(model_map.names) <= len(PALETTE):
        _draw_norm_lines(left, model_map)
    else:
        _draw_norm_rows(part, left, model_map)
    _draw_pairs_over_depth(right, model_map, ["delta_cosine", "sign_conflict"])


def _draw_norm_lines(axes: Axes, model_map: ModelMap) -> None:
    """One line a model, numbered as in the map."""
    for number, model in enumerate(model_map.tree.order):
        axes.plot(
            range(model_map.layers), model_map.norm_profile[model], color=PALETTE[number],
            marker=MARKERS[number], markersize=4, linewidth=1.3, label=str(number + 1),
        )  # fmt: skip
    axes.set_ylim(0, 1.08 * float(np.nanmax(model_map.norm_profile, initial=0)) or 1.0)
    axes.legend(title="model", **LEGEND_BESIDE)
    _label_depth(axes, model_map, DELTA_NORM)


def _draw_norm_rows(part: SubFigure, axes: Axes, model_map: ModelMap) -> None:
    """One row a model, numbered as in the map: more lines than colours would be a tangle."""
    count = len(model_map.names)
    image = axes.pcolormesh(
        _edges(model_map.layers), _edges(count),
        np.ma.masked_invalid(model_map.norm_profile[list(model_map.tree.order)]), cmap="cividis",
    )  # fmt: skip
    axes.set_facecolor(MISSING_COLOUR)
    axes.set_ylim(count - 0.5, -0.5)
    shown = range(0, count, 1 + count // 12)
    axes.set_yticks(shown, [str(i + 1) for i in shown])
    axes.set_ylabel("model", fontsize=9)
    bar = part.colorbar(image, ax=axes, aspect=25, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    _label_depth(axes, model_map, DELTA_NORM)


def _draw_pairs_over_depth(axes: Axes, model_map: ModelMap, measures: list[str]) -> None:
    """The mean over pairs at each layer, in a band from the lowest pair to the highest."""
    first, second = np.triu_indices(len(model_map.names), 1)
    layers = np.arange(model_map.layers)
    for number, measure in enumerate(measures):
        values = np.ma.masked_invalid(model_map.profiles[measure][:, first, second])
        mean, low, high = values.mean(1), values.min(1), values.max(1)
        colour = PALETTE[number]
        if len(first) > 1:
            axes.fill_between(layers, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            layers, mean, color=colour, marker=MARKERS[number], markersize=4, linewidth=1.3,
            label=MEASURE_LOOKS[measure].label,
        )  # fmt: skip
    axes.legend(**LEGEND_BESIDE)
    spread = f"mean of {len(first)} pairs, and lowest to highest" if len(first) > 1 else "the pair"
    _label_depth(axes, model_map, spread)


def _label_depth(axes: Axes, model_map: ModelMap, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(-0.5, model_map.layers - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    axes.tick_params(labelsize=8)
    axes.set_xlabel("layer", fontsize=9)
    axes.set_title(title, fontsize=9)


def _limits(values: np.ndarray, span: float) -> tuple[float, float]:
    """What the colours run over: all values, but no difference too small to mean anything."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    missing = max(0.0, span - (high - low))
    return low - missing / 2, high + missing / 2


def _edges(count: int) -> np.ndarray:
    return np.arange(count + 1) - 0.5


def _shorten(name: str) -> str:
    """A name in one line, its middle left out where it is long."""
    line = " ".join(name.split())
    if len(line) <= LETTERS_SHOWN:
        return line
    return f"{line[: LETTERS_SHOWN // 2 - 1]}…{line[-LETTERS_SHOWN // 2 :]}"
