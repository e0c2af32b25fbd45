"""plan: what is asked on the command line, the plan, and where it is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simmerge_hub.cli import show
from simmerge_hub.errors import OutputError

if TYPE_CHECKING:
    from simmerge_hub.planning.ask.options import Catalogue
    from simmerge_hub.planning.plan import Plan


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
    signals: Literal["full", "structural"] = "full",
    signatures: Sequence[str] = (),
    bandit: str | None = None,
    picture: str | None = None,
    output: str | None = None,
    as_json: bool = False,
    **search: Any,
) -> None:
    """`simmerge-hub plan`; `search` are the fields of `Search` that are given."""
    _check_output(output)
    if picture:
        _check_picture(picture, many=len(models) != 2)
    with show.status("planning") as say:
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
            progress=say,
            note=show.note,
        )
    if picture:
        _draw(plan, picture)
    if output:
        Path(output).write_text(plan.to_yaml(), encoding="utf-8")
    if as_json:
        show.data(plan.to_dict())
        return
    from simmerge_hub.cli.plan_page import page

    page(plan)
    if output:
        show.note(f"written to {output}; next: simmerge-hub merge {output} -o merged")


def _catalogue(
    collection: str | None, author: str | None, shortlist: int | None
) -> "Catalogue | None":
    from simmerge_hub.planning.ask.options import SHORTLIST, Catalogue

    if collection is None and author is None:
        return None
    return Catalogue(collection=collection, author=author, shortlist=shortlist or SHORTLIST)


def _check_output(output: str | None) -> None:
    if output and not Path(output).parent.is_dir():
        raise OutputError(
            f"there is no folder {Path(output).parent} to write the plan in",
            hint=f"make it first: mkdir -p {Path(output).parent}",
        )


def _draw(plan: "Plan", picture: str) -> None:
    from simmerge_hub.publishing import merge_tree

    if plan.of_many:
        merge_tree.draw(plan.recipe, plan.why(), picture)
    else:
        show.note(f"{picture} is not drawn: two models are left, and their merge has no tree")


def _check_picture(picture: str, *, many: bool) -> None:
    """Before any work: whether there will be a tree, and whether it can be drawn there."""
    from simmerge_hub.publishing.picture import check

    if not many:
        raise OutputError(
            "a merge of two models has no tree to draw", hint="leave out --picture, or name a third"
        )
    check(picture)
