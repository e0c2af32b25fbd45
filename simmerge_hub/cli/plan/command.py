"""plan: what is asked on the command line, the plan, and where it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simmerge_hub.cli import arguments, show
from simmerge_hub.cli.plan import flags, speech
from simmerge_hub.errors import OutputError

if TYPE_CHECKING:
    from simmerge_hub.hub.resolve import Checkpoint
    from simmerge_hub.planning.ask.options import Catalogue
    from simmerge_hub.planning.inputs import Inputs
    from simmerge_hub.planning.plan import Plan
    from simmerge_hub.publishing.licenses.verdict import Licence


def options(commands: Any) -> None:
    """Add `simmerge-hub plan`."""
    command = arguments.command(
        commands, "plan", run, "predict how to merge models; merges and evaluates nothing"
    )
    flags.add(command)
    command.add_argument("-o", "--output", metavar="FILE", help="write the plan as YAML")
    command.add_argument(
        "-v", "--verbose", action="store_true",
        help="show everything: every merge that was judged, reasons, distances, origins",
    )  # fmt: skip
    arguments.signatures(command)
    arguments.yes(command)
    arguments.json(command)
    command.set_defaults(check=partial(flags.check, command))


def run(
    *,
    models: Sequence[str],
    base: str | None = None,
    collection: str | None = None,
    author: str | None = None,
    shortlist: int | None = None,
    experts: Sequence[tuple[str, str]] = (),
    probes: Sequence[tuple[str, str]] = (),
    infer: Sequence[str] = (),
    objective: Literal["mean", "worst"] = "mean",
    weights: Sequence[tuple[str, float]] = (),
    keep: Sequence[tuple[str, float]] = (),
    predictor: str | None = None,
    signals: Literal["full", "published", "structural"] = "full",
    signatures: Sequence[str] = (),
    bandit: str | None = None,
    tries: int = 0,
    picture: str | None = None,
    output: str | None = None,
    as_json: bool = False,
    verbose: bool = False,
    tokenizer: str | None = None,
    template: str | None = None,
    yes: bool = False,
    **search: Any,
) -> None:
    """`simmerge-hub plan`; `search` are the fields of `Search` that are given."""
    arguments.check_output(output, "plan", file="plan.yaml")
    if output:
        _keep_edited(Path(output))
    if picture:
        _check_picture(picture, many=len(models) != 2)
    models_read: dict[str, Checkpoint] = {}

    def look(inputs: "Inputs") -> None:
        whole = [*inputs.models, *([inputs.base] if inputs.base else [])]
        models_read.update({model.name: model for model in whole})
        speech.check(tokenizer, template, inputs)
        _look_at_licences(models_read)

    with show.status("planning") as say, show.asking(yes=yes):
        from simmerge_hub.planning import plan as planning
        from simmerge_hub.planning.ask.objective import Objective
        from simmerge_hub.planning.ask.options import Search, Sources, Tasks

        plan = planning.plan(
            *models,
            catalogue=_catalogue(collection, author, shortlist),
            base=base,
            tasks=Tasks(experts=dict(experts), probes=dict(probes), infer=tuple(infer)),
            objective=Objective(worst=objective == "worst", weights=dict(weights), keep=dict(keep)),
            sources=Sources(
                predictor=predictor, signals=signals, signatures=tuple(signatures), bandit=bandit
            ),
            search=Search(**{name: value for name, value in search.items() if value is not None}),
            tries=tries,
            progress=say,
            note=show.note,
            pinned=look,
        )
        plan = speech.speak(plan, tokenizer, template, models_read)
    licence = _licence(plan, models_read)
    if picture:
        _draw(plan, picture)
    if output:
        from simmerge_hub.hub.assets import replace_file

        replace_file(Path(output), plan.to_yaml().encode())
    if as_json:
        show.data(plan.to_dict() | {"licence": asdict(licence)})
        return
    from simmerge_hub.cli.plan.page import page

    page(plan, written=output or "", verbose=verbose, licence=licence)


def _keep_edited(file: Path) -> None:
    """Refuse to write over a recipe that somebody wrote or edited.

    Raises:
        OutputError: the file holds something else than a plan as it was made.
    """
    from simmerge_hub.errors import SimmergeError
    from simmerge_hub.recipe import load

    if not file.is_file():
        return
    try:
        untouched = load(str(file))[1] is not None
    except SimmergeError:
        untouched = False
    if not untouched:
        raise OutputError(
            f"{file} is no plan as it was made: it was written or edited by hand",
            hint="write the plan to another file, or move this one away",
        )


def _look_at_licences(models: Mapping[str, "Checkpoint"]) -> None:
    """Say what speaks against sharing a merge before it is planned."""
    from simmerge_hub.publishing.licenses.verdict import license_of

    cards = {name: model.card for name, model in models.items()}
    for conflict in license_of(cards).conflicts:
        show.note(f"licences: {conflict}; push will need --license")


def _licence(plan: "Plan", models: Mapping[str, "Checkpoint"]) -> "Licence":
    """The licence of the merge that is planned, of its models only."""
    from simmerge_hub.publishing.licenses.verdict import license_of

    return license_of({source.name: models[source.name].card for source in plan.recipe.sources})


def _catalogue(
    collection: str | None, author: str | None, shortlist: int | None
) -> "Catalogue | None":
    from simmerge_hub.planning.ask.options import SHORTLIST, Catalogue

    if collection is None and author is None:
        return None
    return Catalogue(collection=collection, author=author, shortlist=shortlist or SHORTLIST)


def _draw(plan: "Plan", picture: str) -> None:
    from simmerge_hub.publishing.figures.merge_tree import draw_tree
    from simmerge_hub.publishing.figures.paint import write

    if plan.of_many:
        write(draw_tree(plan.recipe, plan.why()), picture)
    else:
        show.note(f"{picture} is not drawn: two models are left, and their merge has no tree")


def _check_picture(picture: str, *, many: bool) -> None:
    """Before any work: whether there will be a tree, and whether it can be drawn there."""
    from simmerge_hub.publishing.figures.files import check

    if not many:
        raise OutputError(
            "a merge of two models has no tree to draw", hint="leave out --picture, or name a third"
        )
    check(picture)
