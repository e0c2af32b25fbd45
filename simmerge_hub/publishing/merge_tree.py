"""The tree of a plan of many models as a figure: models at the left, the merge at the right.

Knows a recipe's steps, what its `why:` says of them, and matplotlib. The same plan gives the same
bytes, with the same versions of matplotlib and its fonts.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmerge_hub.hub.assets import replace_file
from simmerge_hub.literal import printable
from simmerge_hub.publishing.picture import FIGURE_FORMATS, FIGURE_STYLE, LETTERS_SHOWN, check

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simmerge_hub.recipe import Recipe, Step
    from simmerge_hub.recipe.why import Why

WIDTH, HEIGHT = 3.0, 0.85
"""Inches for a step and for a model."""
BOX: dict[str, Any] = {"boxstyle": "round,pad=0.4", "edgecolor": "0.35", "linewidth": 0.8}
ON_LINES: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1}
MODEL, MERGE = "#EAF2F8", "#FDF3E3"


LARGEST = 40.0
"""Inches of a figure; a recipe of a stranger may have a hundred steps."""


def draw(recipe: Recipe, why: Why, output: str | Path) -> None:
    """Write the tree as a figure.

    Args:
        recipe: of a plan; its last step is the merge.
        why: the plan's `why:`, whose `steps` hold the utilities of each merge: shares of the
            task expert's score that it keeps, 1 = as good as the expert.
        output: a .png, .svg or .pdf; replaced if it is there.

    Raises:
        OutputError, MissingExtra: see `picture.check`.
    """
    path = Path(output)
    check(path)
    replace_file(path, render(recipe, why, path.suffix.lower()))


def render(recipe: Recipe, why: Why, kind: str) -> bytes:
    """The figure as a file's content; `kind` is .png, .svg or .pdf."""
    from matplotlib import style
    from matplotlib.figure import Figure

    written = io.BytesIO()
    with style.context(["default", FIGURE_STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        places = _places(recipe.steps)
        wide = 1 + max(x for x, _ in places.values())
        tall = 1 + max(y for _, y in places.values())
        size = (WIDTH * wide, max(2.0, HEIGHT * tall + 0.3))
        figure = Figure(figsize=(min(size[0], LARGEST), min(size[1], LARGEST)))
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(-0.5, wide - 0.5)
        axes.set_ylim(tall - 0.4, -0.6)
        _write(axes, recipe, why, places)
        figure.savefig(written, format=kind[1:], metadata=FIGURE_FORMATS[kind], bbox_inches="tight")
    return written.getvalue()


def _write(axes: Axes, recipe: Recipe, why: Why, places: Mapping[str, tuple[float, float]]) -> None:
    utilities = {step.step: step.tasks for step in why.steps}
    skills: dict[str, list[str]] = {}
    for task in why.tasks:
        skills.setdefault(task.expert, []).append(task.task)
    for step in recipe.steps:
        for name, share in zip(step.models, _weights(step), strict=True):
            (x, y), (to_x, to_y) = places[name], places[step.name]
            axes.plot([x, to_x], [y, to_y], color="0.6", linewidth=1.2, zorder=1)
            middle = (0.55 * x + 0.45 * to_x, 0.55 * y + 0.45 * to_y)
            look: dict[str, Any] = {
                "fontsize": 7,
                "ha": "center",
                "va": "center",
                "color": "0.3",
                "zorder": 2,
            }
            axes.text(*middle, share, bbox=ON_LINES, **look)
        lines = [_label(step)]
        kept = utilities.get(step.name, {})
        lines += [f"{printable(task)} {middle:.2f}" for task, (middle, _, _) in kept.items()]
        _box(axes, places[step.name], "\n".join(lines), MERGE)
    for model in recipe.models:
        own = ", ".join(skills.get(model.name, ()))
        text = _short(model.name) + (f"\n({own})" if own else "")
        _box(axes, places[model.name], text, MODEL)


def _box(axes: Axes, at: tuple[float, float], text: str, colour: str) -> None:
    axes.text(
        *at,
        printable(text),
        fontsize=8,
        ha="center",
        va="center",
        zorder=3,
        bbox={**BOX, "facecolor": colour},
    )


def _places(steps: tuple[Step, ...]) -> dict[str, tuple[float, float]]:
    """Name of a model or step -> (column, row): a step stands right of all it merges."""
    places: dict[str, tuple[float, float]] = {}
    by_name = {step.name: step for step in steps}
    rows = 0

    def put(name: str) -> tuple[float, float]:
        nonlocal rows
        if name in places:
            return places[name]
        if name not in by_name:
            places[name] = (0.0, float(rows))
            rows += 1
            return places[name]
        inputs = [put(part) for part in by_name[name].models]
        column = 1 + max(x for x, _ in inputs)
        places[name] = (column, sum(y for _, y in inputs) / len(inputs))
        return places[name]

    put(steps[-1].name)
    return places


def _label(step: Step) -> str:
    inner = ", ".join(f"{k} {v:g}" for k, v in step.parameters.items() if isinstance(v, float))
    return f"{step.operator}{f' ({inner})' if inner else ''}"


def _weights(step: Step) -> list[str]:
    """What is written on the way from each input to the step: its weight."""
    given = step.parameters.get("weights")
    if given is None and step.operator == "linear":
        given = 1 / len(step.models)
    if not isinstance(given, Sequence) or len(given) != len(step.models):
        given = [given] * len(step.models)
    return [f"{weight:.2f}" if isinstance(weight, int | float) else "" for weight in given]


def _short(name: str) -> str:
    return name if len(name) <= LETTERS_SHOWN else f"{name[: LETTERS_SHOWN - 1]}…"
