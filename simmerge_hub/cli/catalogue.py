"""plan, from a catalogue: what was found, what is searched, and why the others are not."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from simmerge_hub.cli import many, plan, show
from simmerge_hub.cli.plan import line
from simmerge_hub.planning.find.shortlist import GOOD

if TYPE_CHECKING:
    from simmerge_hub.planning.catalogue import CataloguePlan

NAMED = 4
"""Names that stand beside a reason, and tasks beside a model."""
NUMBER = re.compile(r"\d+ others? states? (?:a )?better scores?")


def page(made: "CataloguePlan") -> None:
    """The candidates, kept and dropped; then the plan, as of models that are named."""
    from simmerge_hub.planning.many import ManyPlan

    made_from = "" if made.place.endswith(f" {made.base}") else f", made from {made.base}"
    line(
        f"{made.listed} candidates in {made.place}{made_from}: {len(made.shortlist)} are searched, "
        f"{len(made.dropped)} left out",
        style="bold",
    )
    show.OUT.print(_shortlist(made))
    for reason, names in folded(made.dropped).items():
        line(f"{reason}: {_several(names)}", mark="-", style="dim")
    reading, signing = made.seconds["reading"], made.seconds["signing"]
    line(f"read in {reading:.1f} s, signed in {signing:.1f} s", style="dim")
    line("")
    if isinstance(made.plan, ManyPlan):
        many.page(made.plan, told=made.dropped)
    else:
        plan.page(made.plan, told=made.dropped)


def folded(dropped: Mapping[str, str]) -> dict[str, list[str]]:
    """Reason -> names; reasons that differ only in how many others are better are one."""
    counts: dict[str, list[int]] = {}
    found: dict[str, list[str]] = {}
    for name, reason in dropped.items():
        number = NUMBER.match(reason)
        key = f"{{}}{reason[number.end() :]}" if number else reason
        if number:
            counts.setdefault(key, []).append(int(reason.split()[0]))
        found.setdefault(key, []).append(name)
    return {_counted(key, counts.get(key)): names for key, names in found.items()}


def _counted(key: str, counts: list[int] | None) -> str:
    if counts is None:
        return key
    least, most = min(counts), max(counts)
    several = f"{least}" if least == most else f"{least} to {most}"
    said = "1 other states a better score" if most == 1 else f"{several} others state better scores"
    return said + key.removeprefix("{}")


def _shortlist(made: "CataloguePlan") -> Table:
    table = Table()
    table.add_column("searched", overflow="fold")
    table.add_column("good at, by the score on its card")
    best = {task.name: max(task.scores.values(), default=0.0) for task in made.plan.tasks}
    named = {task.expert: f"{task.name}, as you say" for task in made.plan.tasks if task.named}
    for name, scores in made.shortlist.items():
        good = [task for task in scores if scores[task] >= GOOD * best[task]]
        good.sort(key=lambda task: -scores[task])
        told = [f"{task} {scores[task]:.2f}" for task in good] or [named.get(name, "nothing")]
        table.add_row(escape(name), escape(_several(told)))
    return table


def _several(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
