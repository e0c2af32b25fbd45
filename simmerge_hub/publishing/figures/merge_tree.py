"""The steps of a recipe as a figure: models at the left, the merge at the right.

Knows a recipe's steps and what its `why:` says of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from simmerge_hub.names import join_names
from simmerge_hub.planning.words.names import name_operator, shorten
from simmerge_hub.publishing.figures.shapes import (
    INK,
    PALE,
    Box,
    Figure,
    Line,
    Shape,
    Text,
    cut,
    measure_text,
)
from simmerge_hub.recipe import Recipe, Step
from simmerge_hub.recipe.why import Why
from simmerge_hub.units import spell_percent

MODEL, MERGE, EDGE = "#eaf2f8", "#fdf3e3", "#8c959f"
SIZE, SMALL = 13.0, 11.0
"""Of letters."""
BOLD = 1.12
"""How much wider bold letters are."""
LINE = 16.0
"""Height of a line of text in a box."""
PADDING, GAP, BETWEEN, MARGIN = 8.0, 14.0, 90.0, 12.0
"""Inside a box, between rows, between columns, around the figure."""
NAME_LETTERS, NAME_LETTERS_TOLD = 40, 120
"""Of a name in the picture, and in the words for it."""
TASKS_WRITTEN = 8
"""Tasks that are written into the box of a merge or model."""
STEPS_DRAWN = 60
"""A recipe of a stranger may have more steps than anybody reads."""

Lines = Sequence[str]
Places = Mapping[str, tuple[float, float]]


def can_draw(recipe: Recipe) -> bool:
    """Whether there is a tree that people can read: no slices, and not too many steps."""
    return bool(recipe.steps) and not recipe.slices and len(recipe.steps) <= STEPS_DRAWN


def draw_tree(recipe: Recipe, why: Why | None) -> Figure:
    """The tree; the last step of the recipe is the merge.

    Args:
        recipe: one that `can_draw` says yes to.
        why: the plan's `why:`, whose `steps` hold the utilities of each merge: shares of the
            task expert's score that it keeps, 1 = as good as the expert.
    """
    labels = _labels(recipe, why)
    places = _places(recipe.steps)
    boxes = _arrange(places, labels)
    shapes: list[Shape] = [*_joins(recipe.steps, boxes)]
    merges = {step.name for step in recipe.steps}
    for name, box in boxes.items():
        shapes += _box(box, labels[name], MERGE if name in merges else MODEL)
    width = max(x + wide for (x, _), (wide, _) in boxes.values()) + MARGIN
    height = max(y + tall for (_, y), (_, tall) in boxes.values()) + MARGIN
    words = tell_tree(recipe, why)
    return Figure(size=(width, height), shapes=tuple(shapes), words=words)


def tell_tree(recipe: Recipe, why: Why | None) -> str:
    """What the picture shows, in words."""
    short, kept = shorten([model.name for model in recipe.sources]), _kept(why)
    told = []
    for step in recipe.steps:
        names = [
            cut(short(name), NAME_LETTERS_TOLD) + (f" ({share})" if share else "")
            for name, share in zip(step.models, weights_of(step), strict=True)
        ]
        last = step is recipe.steps[-1]
        result = "the merge" if last else cut(short(step.name), NAME_LETTERS_TOLD)
        utilities = ", ".join(kept.get(step.name, ()))
        keeps = f", which should keep {utilities}" if utilities else ""
        told.append(f"{_operator(step)} of {join_names(names)} gives {result}{keeps}")
    return f"Merge tree: {'; '.join(told)}."


def _labels(recipe: Recipe, why: Why | None) -> dict[str, Lines]:
    """What is written in the box of each model and merge, by its name."""
    skills: dict[str, list[str]] = {}
    for task in why.tasks if why else ():
        skills.setdefault(task.expert, []).append(f"expert at {cut(task.task, NAME_LETTERS)}")
    short, kept = shorten([model.name for model in recipe.sources]), _kept(why)
    labels: dict[str, Lines] = {}
    for model in recipe.sources:
        own = skills.get(model.name, [])[:TASKS_WRITTEN]
        labels[model.name] = [cut(short(model.name), NAME_LETTERS), *own]
    for step in recipe.steps:
        labels[step.name] = [cut(_operator(step), NAME_LETTERS), *kept.get(step.name, ())]
    return labels


def _operator(step: Step) -> str:
    return name_operator(step.operator, {k: v for k, v in step.parameters.items() if _short(v)})


def _short(value: object) -> bool:
    return isinstance(value, int | float | str)


def _kept(why: Why | None) -> dict[str, list[str]]:
    """Step -> what its merge should keep, a line a task; of two models it is the choice's."""
    if why is None:
        return {}
    kept = {each.step: each.tasks for each in why.steps}
    if not why.tree:
        chosen = next((m.tasks for m in why.predictions if m.merge == why.choice), None)
        kept = {**kept, "": chosen} if chosen else kept
    return {
        step: [
            f"{spell_percent(middle)} of {cut(task, NAME_LETTERS)}"
            for task, (middle, _, _) in list(tasks.items())[:TASKS_WRITTEN]
        ]
        for step, tasks in kept.items()
    }


def _places(steps: Sequence[Step]) -> dict[str, tuple[int, float]]:
    """Name of a model or step -> (column, row): a step stands right of all it merges."""
    places: dict[str, tuple[int, float]] = {}
    by_name = {step.name: step for step in steps}
    rows = 0

    def put(name: str) -> tuple[int, float]:
        nonlocal rows
        if name in places:
            return places[name]
        if name not in by_name:
            places[name] = (0, float(rows))
            rows += 1
            return places[name]
        inputs = [put(part) for part in by_name[name].models]
        column = 1 + max(x for x, _ in inputs)
        places[name] = (column, sum(y for _, y in inputs) / len(inputs))
        return places[name]

    put(steps[-1].name)
    return places


Boxes = Mapping[str, tuple[tuple[float, float], tuple[float, float]]]
"""Name -> (upper left corner, size)."""


def _arrange(places: Mapping[str, tuple[int, float]], labels: Mapping[str, Lines]) -> Boxes:
    """Boxes as large as their text, columns beside each other."""
    sizes = {name: _measure(labels[name]) for name in places}
    columns = range(1 + max(column for column, _ in places.values()))
    widths = [max(sizes[n][0] for n, (c, _) in places.items() if c == column) for column in columns]
    lefts = [MARGIN]
    for width in widths[:-1]:
        lefts.append(lefts[-1] + width + BETWEEN)
    middles = _middles(places, {name: tall for name, (_, tall) in sizes.items()})
    return {
        name: ((lefts[column], middles[name] - sizes[name][1] / 2), sizes[name])
        for name, (column, _) in places.items()
    }


def _middles(
    places: Mapping[str, tuple[int, float]], heights: Mapping[str, float]
) -> dict[str, float]:
    """The height of the middle of each box: rows far enough apart that none covers another."""
    step, rows = 0.0, dict[str, float]()
    for column in {column for column, _ in places.values()}:
        inside = sorted((row, name) for name, (c, row) in places.items() if c == column)
        names = [name for _, name in inside]
        rows |= zip(names, _spread([row for row, _ in inside]), strict=True)
        for one, other in pairwise(names):
            needed = (heights[one] + heights[other]) / 2 + GAP
            step = max(step, needed / (rows[other] - rows[one]))
    top = max(heights[name] / 2 - step * row for name, row in rows.items())
    return {name: MARGIN + top + step * row for name, row in rows.items()}


def _spread(rows: Sequence[float]) -> list[float]:
    """Rows in ascending order, moved as little as possible until they are one apart: those that
    are too close are set around their mean."""
    runs: list[tuple[float, int]] = []
    for number, row in enumerate(rows):
        mean, size = row - number, 1
        while runs and runs[-1][0] > mean:
            above, count = runs.pop()
            mean, size = (above * count + mean * size) / (count + size), count + size
        runs.append((mean, size))
    means = [mean for mean, size in runs for _ in range(size)]
    return [mean + number for number, mean in enumerate(means)]


def _measure(lines: Lines) -> tuple[float, float]:
    widths = [measure_text(line, SMALL if i else BOLD * SIZE) for i, line in enumerate(lines)]
    return max(widths) + 2 * PADDING, LINE * len(lines) + 2 * PADDING


def _box(
    box: tuple[tuple[float, float], tuple[float, float]], lines: Lines, fill: str
) -> Iterator[Shape]:
    (x, y), (wide, tall) = box
    yield Box(at=(x, y), size=(wide, tall), fill=fill, edge=EDGE, round=6)
    for number, line in enumerate(lines):
        yield Text(
            at=(x + wide / 2, y + PADDING + LINE * (number + 0.75)),
            text=line,
            size=SMALL if number else SIZE,
            colour=PALE if number else INK,
            anchor="middle",
            bold=not number,
        )


def _joins(steps: Sequence[Step], boxes: Boxes) -> Iterator[Shape]:
    """Lines from what is merged to its merge, with the weights on them."""
    written: list[Shape] = []
    for step in steps:
        if step.name not in boxes:
            continue
        end = _side(boxes[step.name], right=False)
        for name, share in zip(step.models, weights_of(step), strict=True):
            start = _side(boxes[name], right=True)
            yield Line(start=start, end=end, colour=EDGE, width=1.5)
            if share:
                at = (start[0] + 0.4 * (end[0] - start[0]), start[1] + 0.4 * (end[1] - start[1]))
                wide = measure_text(share, SMALL)
                written.append(
                    Box(at=(at[0] - wide / 2, at[1] - 8), size=(wide, 16), fill="#ffffff")
                )
                written.append(
                    Text(at=(at[0], at[1] + 4), text=share, size=SMALL, colour=PALE,
                         anchor="middle")
                )  # fmt: skip
    yield from written


def _side(
    box: tuple[tuple[float, float], tuple[float, float]], *, right: bool
) -> tuple[float, float]:
    (x, y), (wide, tall) = box
    return (x + wide if right else x, y + tall / 2)


def weights_of(step: Step) -> list[str]:
    """What is written on the way from each input to the step: its weight."""
    given = step.parameters.get("weights")
    if given is None and step.operator == "linear":
        given = 1 / len(step.models)
    if not isinstance(given, Sequence) or len(given) != len(step.models):
        given = [given] * len(step.models)
    return [f"{weight:.2f}" if isinstance(weight, int | float) else "" for weight in given]
