"""plan: predict, show every arm with its interval, and say why and how far to believe it."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.markup import escape
from rich.table import Table

from simmerge_hub.cli import show
from simmerge_hub.errors import BanditError, OutputError
from simmerge_hub.selector.status import MEANING

if TYPE_CHECKING:
    from simmerge_hub.planning.catalogue import CataloguePlan
    from simmerge_hub.planning.choice import Choice
    from simmerge_hub.planning.many import ManyPlan
    from simmerge_hub.planning.plan import Plan
    from simmerge_hub.selector.ranking import Ranking
    from simmerge_hub.selector.status import Status

COLOURS = {"calibrated": "green", "extrapolated": "yellow", "abstained": "red"}
"""Of a status; what it means is `selector.status`'s to say."""
SEARCH = ("least", "most", "beam", "step_weights", "probe_intermediates")
"""Options of three or more models."""
CHOSEN, PARETO, SHORT = "➜", "◆", "✗"


def run(
    *,
    models: Sequence[str],
    experts: Sequence[tuple[str, str]] = (),
    probes: Sequence[tuple[str, str]] = (),
    objective: Literal["mean", "worst"] = "mean",
    weights: Sequence[tuple[str, float]] = (),
    keep: Sequence[tuple[str, float]] = (),
    infer: Sequence[str] = (),
    picture: str | None = None,
    output: str | None = None,
    as_json: bool = False,
    **options: Any,
) -> None:
    """`simmerge-hub plan`; `options` are those of the verbs."""
    if output and not Path(output).parent.is_dir():
        raise OutputError(
            f"there is no folder {Path(output).parent} to write the plan in",
            hint=f"make it first: mkdir -p {Path(output).parent}",
        )
    if picture:
        _check_picture(picture, len(models) != 2)
    with show.status("planning") as say:
        from simmerge_hub.planning.objective import Objective

        options |= {
            "experts": dict(experts),
            "probes": dict(probes),
            "objective": Objective(
                worst=objective == "worst", weights=dict(weights), keep=dict(keep)
            ),
            "progress": say,
            "note": show.note,
        }
        made, tell = _made(models, infer, options)
    if picture:
        _draw(made, picture)
    if output:
        Path(output).write_text(made.to_yaml(), encoding="utf-8")
    if as_json:
        show.data(made.to_dict())
        return
    tell()
    if output:
        show.note(f"written to {output}; next: simmerge-hub merge {output} -o merged")


def _made(
    models: Sequence[str], infer: Sequence[str], options: dict[str, Any]
) -> "tuple[Plan | ManyPlan | CataloguePlan, Callable[[], None]]":
    """The plan that is asked for, and what shows it."""
    catalogue = {k: options.pop(k, None) for k in ("collection", "author", "shortlist")}
    search = {k: options.pop(k) for k in SEARCH if k in options}
    if len(models) != 2 and options.pop("bandit", None):
        raise BanditError(
            "a bandit chooses the operator of two models, and others are asked for",
            hint="leave out --bandit, or name two models",
        )
    if not models:
        from simmerge_hub.cli import catalogue as page_of_catalogue
        from simmerge_hub.planning.catalogue import plan_catalogue

        given = {k: v for k, v in {**catalogue, **search}.items() if v is not None}
        found = plan_catalogue(**given, **options)
        return found, partial(page_of_catalogue.page, found)
    if len(models) > 2:
        from simmerge_hub.cli import many as page_of_many
        from simmerge_hub.planning.many import plan_many

        page_of_many.refuse_inference(infer)
        many = plan_many(*models, **search, **options)
        return many, partial(page_of_many.page, many)
    from simmerge_hub.planning.plan import plan as predict

    two = predict(*models, infer=infer, **options)
    return two, partial(page, two)


def _draw(made: "Plan | ManyPlan | CataloguePlan", picture: str) -> None:
    from simmerge_hub.planning.catalogue import CataloguePlan
    from simmerge_hub.publishing import merge_tree

    plan = made.plan if isinstance(made, CataloguePlan) else made
    if "tree" in plan.why():
        merge_tree.draw(plan.recipe, plan.why(), picture)
    else:
        show.note(f"{picture} is not drawn: two models are left, and their merge has no tree")


def _check_picture(picture: str, many: bool) -> None:
    """Before any work: whether there will be a tree, and whether it can be drawn there."""
    from simmerge_hub.publishing.picture import check

    if not many:
        raise OutputError(
            "a merge of two models has no tree to draw", hint="leave out --picture, or name a third"
        )
    check(picture)


def page(made: "Plan", told: Collection[str] = ()) -> None:
    """The plan for people: the ranking, the choice, how far to believe it, each task's reasons.

    Args:
        made: the plan.
        told: what was left out and is said elsewhere.
    """
    show.OUT.print(_ranking(made))
    if len(made.tasks) > 1:
        line(f"{PARETO} no other arm is better on one task and as good on all", style="dim")
    if any(choice.missing for choice in made.decision.choices):
        line(f"{SHORT} keeps less than is asked for", style="dim")
    for number, text in enumerate(made.decision.because):
        line(f"{text}.", mark=" " if number else CHOSEN)
    status(made.decision.status)
    for task in made.tasks:
        line(f"\n{task.name}: the expert is {task.expert} ({task.source})", style="bold")
        _reasons(made.decision.rankings[task.name])
    origins(made, told)


def status(found: "Status") -> None:
    """How far to believe a plan."""
    show.OUT.print(f"[{COLOURS[found]}]{found}[/]: {MEANING[found]}", highlight=False)


def _ranking(made: "Plan") -> Table:
    """Every arm with its predictions; only the first column has intervals where room is short."""
    tasks = [task.name for task in made.tasks]
    heading = made.decision.objective.heading(tasks)
    columns = tasks if heading in tasks else [heading, *tasks]
    widest = max(len(choice.arm.label) for choice in made.decision.choices)
    roomy = show.OUT.width >= widest + 10 + sum(3 + max(18, len(c)) for c in columns)
    names = " + ".join(m.name for m in made.recipe.models)
    table = Table(title=escape(f"Predicted share of the gap closed, {names}"))
    table.add_column("operator", no_wrap=True)
    for column in columns:
        table.add_column(escape(column), justify="right")
    for choice in made.decision.choices:
        spreads = {heading: (choice.utility, choice.low, choice.high)} | dict(choice.tasks)
        cells = [
            show.interval(spreads[column]) if roomy or not place else f"{spreads[column][0]:.2f}"
            for place, column in enumerate(columns)
        ]
        table.add_row(_name(choice, made), *cells, style="bold" if choice is made.best else "")
    return table


def _name(choice: "Choice", made: "Plan") -> str:
    first = CHOSEN if choice is made.best else SHORT if choice.missing else " "
    front = PARETO if choice.pareto and len(made.tasks) > 1 else " "
    return f"{first} {escape(choice.arm.label)} {front}".rstrip()


def _reasons(ranking: "Ranking") -> None:
    """What is best for one task alone, what speaks for it, and how far it is from training."""
    from simmerge_hub.selector.wording import decisive

    reasons = decisive(ranking.contributions)
    line(_best(ranking) + (", because (with what each adds)" if reasons else ""), mark=" ")
    for each in reasons:
        line(f"{each.says}: {each.lead:+.2f}", mark="  -")
    if ranking.status != "calibrated":
        line(f"{ranking.status}: {ranking.novelty.reason}", mark=" ")
    line(_distance(ranking), mark=" ", style="dim")


def _best(ranking: "Ranking") -> str:
    from simmerge_hub.selector.wording import rival

    best, other = ranking.best, rival(ranking.kept)
    spread = show.interval((best.utility, best.low, best.high))
    found = f"predicted best for it alone: {best.arm.label}, {spread}"
    if other is None:
        return found
    return f"{found}, over {other.arm.label} by {best.utility - other.utility:.2f}"


def _distance(ranking: "Ranking") -> str:
    """How far the pair is from the training data, beside what is usual there."""
    found, usual = ranking.novelty, ranking.usual
    near = f" (usual up to {usual.distance:.2f})" if usual else ""
    out = f" (usual up to {usual.outside:.1%})" if usual else ""
    said = (
        f"from the training data: nearest pair {found.distance:.2f} mean ranks away{near}, "
        f"{found.outside:.1%} of features out of range{out}"
    )
    if found.strange and found.status != "calibrated":
        said += f", most of all {', '.join(found.strange[:3])}"
    return said


def origins(made: "Plan | ManyPlan", told: Collection[str] = ()) -> None:
    """What was left out, and what the plan was made from."""
    line("")
    grouped: dict[str, list[str]] = {}
    for what, reason in made.left_out.items():
        if what not in told:
            grouped.setdefault(reason, []).append(what)
    for reason, names in grouped.items():
        line(f"left out: {', '.join(names)}: {reason}", style="dim")
    alike: dict[str, list[str]] = {}
    for name, parts in made.signatures.items():
        alike.setdefault(show.origins(parts), []).append(name)
    for said, names in alike.items():
        several = "signature" if len(names) == 1 else "signatures"
        line(f"{several} of {', '.join(names)}: {said}", style="dim")
    line(f"predictor: {made.predictor[:12]}, from {made.predictor_from}", style="dim")


def line(text: str, *, mark: str = "", style: str = "") -> None:
    """A line for people in which rich reads no markup, wrapped beside its mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for cell in (mark, text)[not mark :]:
        grid.add_column(no_wrap=cell is mark)
    grid.add_row(*map(escape, (mark, text)[not mark :]))
    show.OUT.print(grid, style=style, highlight=False)
