"""map: compare many models, say who is near whom, draw it if asked."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import arguments, show
from simmerge_hub.names import list_first

if TYPE_CHECKING:
    from rich.table import Table

    from simmerge_hub.signatures.map.similarities import ModelMap, Similarity

MEASURE_COLUMNS = {
    "delta_cosine": ("delta cosine", 3),
    "weight_cosine": ("weight cosine", 5),
    "sign_conflict": ("sign conflict", 3),
    "js": ("JS", 4),
}
"""Measures of the table: heading, decimals."""


def options(commands: Any) -> None:
    """Add `simmerge-hub map`."""
    command = arguments.command(
        commands, "map", run, "compare every pair of many models; signs each model once"
    )
    command.add_argument("models", nargs="+", metavar="MODEL", help=arguments.REFERENCE)
    command.add_argument("--base", help="what the models were fine-tuned from")
    command.add_argument(
        "--signals", choices=["structural", "full"], default="structural",
        help="full: compare behaviour on probes too, for which each model is downloaded whole; "
             "default: structural",
    )  # fmt: skip
    arguments.signatures(command)
    command.add_argument("-o", "--output", metavar="FILE", help="draw it: .png, .svg or .pdf")
    arguments.yes(command)
    arguments.json(command)


def run(
    *, models: Sequence[str], output: str | None, as_json: bool, yes: bool = False, **settings: Any
) -> None:
    """`simmerge-hub map`; `settings` are those of `map_models`."""
    from simmerge_hub.publishing import picture
    from simmerge_hub.publishing.figures import files

    if output:
        files.check(output)
    with show.status("mapping") as say, show.asking(yes=yes):
        from simmerge_hub.signatures.map.similarities import map_models

        model_map = map_models(*models, progress=say, note=show.note, **settings)
    if output:
        picture.draw(model_map, output)
    if as_json:
        show.data(model_map.to_dict())
    else:
        page(model_map)
    if output:
        show.note(f"drawn to {output}")


def page(model_map: "ModelMap") -> None:
    """Tables of pairs and models, then what they come to in words."""
    show.OUT.print(_pairs(model_map))
    if model_map.base is not None:
        show.OUT.print(_models(model_map))
    for line in sentences(model_map):
        show.line(line)
    for decision in model_map.notes:
        show.line(f"note: {decision}")
    names = model_map.left_out
    if names:
        left = f"{len(names)} matrices" if len(names) > 1 else "one matrix"
        show.line(
            f"note: {left} that not all models have in one shape: {list_first(names)}; not compared"
        )


def _pairs(model_map: "ModelMap") -> "Table":
    """Every pair, nearest first."""
    hidden = {"weight_cosine"} if model_map.base else set()
    measures = [m for m in MEASURE_COLUMNS if m in model_map.pairs and m not in hidden]
    table = show.make_table(title=f"{len(model_map.names)} models, every pair, nearest first")
    table.add_column("model", overflow="fold")
    table.add_column("model", overflow="fold")
    for measure in measures:
        table.add_column(
            MEASURE_COLUMNS[measure][0].replace(" ", "\n"), justify="right"
        )  # names need room
    for pair in model_map.rank_pairs():
        values = [(float(model_map.pairs[m][pair.models]), MEASURE_COLUMNS[m][1]) for m in measures]
        table.add_row(
            *(show.escape(model_map.names[i]) for i in pair.models),
            *(_number(value, decimals) for value, decimals in values),
        )
    return table


def _models(model_map: "ModelMap") -> "Table":
    table = show.make_table(title=f"How far each went from {model_map.base}")
    table.add_column("model", overflow="fold")
    table.add_column("delta norm", justify="right")
    for name, norm in zip(model_map.names, model_map.norms, strict=True):
        table.add_row(show.escape(name), _number(float(norm), 4))
    return table


def sentences(model_map: "ModelMap") -> Iterator[str]:
    """The nearest and the farthest pair in plain words; of two models, how alike they are."""
    what = "have weights that are" if model_map.base is None else f"changed {model_map.base}"
    yield from _ends(model_map, model_map.measure, model_map.rank_pairs(), what)
    if "js" in model_map.pairs:
        yield from _ends(model_map, "js", model_map.rank_pairs("js")[::-1], "behave")


def _ends(
    model_map: "ModelMap", measure: str, pairs: "Sequence[Similarity]", what: str
) -> Iterator[str]:
    """The first and the last of pairs that have a number, nearest first."""
    heading, decimals = MEASURE_COLUMNS[measure]
    known = [pair for pair in pairs if not math.isnan(pair.value)]
    if not known:
        yield f"no pair has a {heading}"
        return
    sentences = {known[0]: f" {what} most alike", known[-1]: f" {what} least alike"}
    for pair, words in sentences.items() if len(known) > 1 else [(known[0], "")]:
        names = " and ".join(model_map.names[i] for i in pair.models)
        yield f"{names}{words}: {heading} {pair.value:z.{decimals}f}"


def _number(value: float, decimals: int) -> str:
    return "–" if math.isnan(value) else f"{value:z.{decimals}f}"
