"""plan, of three or more models: the best merges, the chosen tree, and why."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from simmerge_hub.cli import show
from simmerge_hub.cli.plan import CHOSEN, line, origins, status
from simmerge_hub.errors import ProbeError

if TYPE_CHECKING:
    from simmerge_hub.planning.many import ManyPlan

RAN = "◉"
SHOWN = 8
"""Merges in the table."""


def refuse_inference(tasks: Sequence[str]) -> None:
    """Experts are inferred between two models only."""
    for task in tasks:
        raise ProbeError(
            f"the expert for {task} cannot be inferred among three or more models",
            hint=f"name it: --expert {task}=MODEL",
        )


def page(made: "ManyPlan", told: Collection[str] = ()) -> None:
    """The plan for people: the best merges, the tree that is chosen, why, what was left out.

    Args:
        made: the plan.
        told: what was left out and is said elsewhere.
    """
    show.OUT.print(_ranking(made))
    if made.tried:
        line(f"{RAN} made and run on the probes; not evaluated", style="dim")
    for row in made.tree:
        show.OUT.print(f"  {row}", markup=False, highlight=False, soft_wrap=True)
    line("")
    for number, text in enumerate(made.because):
        line(f"{text}.", mark=" " if number else CHOSEN)
    status(made.status)
    for task in made.tasks:
        novelty = made.novelty[task.name]
        line(
            f"{task.name}: the expert is {task.expert} ({task.source}); its most unfamiliar pair "
            f"is {novelty.status}, {novelty.distance:.2f} mean ranks from training",
            style="dim",
        )
    line(f"{made.scored} forecasts in {made.seconds:.1f} s; nothing was evaluated", style="dim")
    origins(made, told)


def _ranking(made: "ManyPlan") -> Table:
    tasks = [task.name for task in made.tasks]
    heading = made.objective.heading(tasks)
    columns = tasks if heading in tasks else [heading, *tasks]
    table = Table(
        title="Predicted utility, 1 = as good as the task's expert; "
        "best first by one standard deviation less"
    )
    table.add_column("merge", overflow="fold")
    for column in columns:
        table.add_column(escape(column), justify="right")
    for candidate in made.candidates[:SHOWN]:
        values = {heading: made.value(candidate)} | candidate.spreads()
        first = show.interval(values[columns[0]])
        cells = [first, *(f"{values[column][0]:.2f}" for column in columns[1:])]
        best = candidate is made.best
        ran = f" {RAN}" if candidate.tree.label in made.tried else ""
        name = f"{CHOSEN if best else ' '} {escape(candidate.tree.label)}{ran}"
        table.add_row(name, *cells, style="bold" if best else "")
    return table
