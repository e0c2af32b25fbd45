"""map: compare many models, say who is near whom, draw it if asked."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from simmerge_hub.cli import show

if TYPE_CHECKING:
    from simmerge_hub.signatures.map.similarities import ModelMap, Similarity

COLUMNS = {
    "delta_cosine": ("delta cosine", 3),
    "weight_cosine": ("weight cosine", 5),
    "sign_conflict": ("sign conflict", 3),
    "js": ("JS", 4),
}
"""Measures of the table: heading, decimals."""


def run(*, models: Sequence[str], output: str | None, as_json: bool, **options: Any) -> None:
    """`simmerge-hub map`; `options` are those of `map_models`."""
    from simmerge_hub.publishing import picture

    if output:
        picture.check(output)
    with show.status("mapping") as say:
        from simmerge_hub.signatures.map.similarities import map_models

        found = map_models(*models, progress=say, note=show.note, **options)
    if output:
        picture.draw(found, output)
    if as_json:
        show.data(found.to_dict())
    else:
        tell(found)
    if output:
        show.note(f"drawn to {output}")


def tell(found: "ModelMap") -> None:
    """Tables of pairs and models, then what they come to in words."""
    show.OUT.print(_pairs(found))
    if found.base is not None:
        show.OUT.print(_models(found))
    for line in sentences(found):
        show.OUT.print(line, highlight=False, markup=False, soft_wrap=True)
    for decided in found.notes:
        show.OUT.print(f"note: {decided}", highlight=False, markup=False, soft_wrap=True)
    if found.left_out:
        left = f"{len(found.left_out)} matrices" if len(found.left_out) > 1 else "one matrix"
        show.OUT.print(
            f"note: {left} that not all models have in one shape: {', '.join(found.left_out[:3])}"
            f"{', …' if len(found.left_out) > 3 else ''}; not compared",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def _pairs(found: "ModelMap") -> Table:
    """Every pair, nearest first."""
    measures = [m for m in COLUMNS if m in found.pairs and (m != "weight_cosine" or not found.base)]
    table = Table(title=f"{len(found.names)} models, every pair, nearest first")
    table.add_column("model", overflow="fold")
    table.add_column("model", overflow="fold")
    for measure in measures:
        table.add_column(COLUMNS[measure][0].replace(" ", "\n"), justify="right")  # names need room
    for pair in found.rank_pairs():
        values = [(float(found.pairs[m][pair.models]), COLUMNS[m][1]) for m in measures]
        table.add_row(
            *(escape(found.names[i]) for i in pair.models),
            *(_number(value, decimals) for value, decimals in values),
        )
    return table


def _models(found: "ModelMap") -> Table:
    table = Table(title=escape(f"How far each went from {found.base}"))
    table.add_column("model", overflow="fold")
    table.add_column("delta norm", justify="right")
    for name, norm in zip(found.names, found.norms, strict=True):
        table.add_row(escape(name), _number(float(norm), 4))
    return table


def sentences(found: "ModelMap") -> Iterator[str]:
    """The nearest and the farthest pair in plain words; of two models, how alike they are."""
    what = "have weights that are" if found.base is None else f"changed {found.base}"
    yield from _ends(found, found.measure, found.rank_pairs(), what)
    if "js" in found.pairs:
        yield from _ends(found, "js", found.rank_pairs("js")[::-1], "behave")


def _ends(
    found: "ModelMap", measure: str, pairs: "Sequence[Similarity]", what: str
) -> Iterator[str]:
    """The first and the last of pairs that have a number, nearest first."""
    heading, decimals = COLUMNS[measure]
    known = [pair for pair in pairs if not math.isnan(pair.value)]
    if not known:
        yield f"no pair has a {heading}"
        return
    told = {known[0]: f" {what} most alike", known[-1]: f" {what} least alike"}
    for pair, words in told.items() if len(known) > 1 else [(known[0], "")]:
        names = " and ".join(found.names[i] for i in pair.models)
        yield f"{names}{words}: {heading} {pair.value:z.{decimals}f}"


def _number(value: float, decimals: int) -> str:
    return "–" if math.isnan(value) else f"{value:z.{decimals}f}"
