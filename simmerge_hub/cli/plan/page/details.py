"""All of a plan: the candidates, every merge in order, why the first, how far to believe it."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from simmerge_hub.cli import show
from simmerge_hub.names import list_first
from simmerge_hub.planning.choice import CAUTION, Order
from simmerge_hub.planning.find.candidates import group_reasons
from simmerge_hub.planning.find.shortlist import GOOD
from simmerge_hub.recipe.why import MEANINGS, UNIT, Status
from simmerge_hub.units import spell_count, spell_interval

if TYPE_CHECKING:
    from simmerge_hub.planning.ask.tasks import Task
    from simmerge_hub.planning.choice import Choice
    from simmerge_hub.planning.find.few import Survey
    from simmerge_hub.planning.plan import Plan
    from simmerge_hub.planning.verdict import Standing

COLOURS: Mapping[Status, str] = {
    "tried": "green",
    "calibrated": "green",
    "extrapolated": "yellow",
    "abstained": "red",
}
CHOSEN, PARETO, SHORT, RAN = "➜", "◆", "✗", "◉"
ROWS = 8
"""Merges of three models or more in the table."""
NAMES = 4
"""Names that stand beside a reason, and tasks beside a model."""
BETTER = re.compile(r"\d+ others? states? (?:a )?better scores?")


def print_details(plan: "Plan") -> None:
    """What the decision leaves out, on stdout, with merges called as recipes call them."""
    line("")
    if plan.survey is not None:
        _survey(plan.survey, plan)
    numbered = plan.of_many and _needed_width(plan) > show.OUT.width
    show.OUT.print(_merges(plan, numbered=numbered))
    if numbered:
        for number, choice in enumerate(_in_order(plan), 1):
            show.line(f"  {number}  {choice.label}", hang=3)
    _legend(plan)
    if plan.of_many:
        for row in plan.tree:
            show.line(f"  {row}", hang=6)
        line("")
    verdict = plan.verdict
    for number, text in enumerate(verdict.because):
        line(f"{text}.", mark=" " if number else CHOSEN)
    meaning = f"[{COLOURS[verdict.status]}]{verdict.status}[/]: {MEANINGS[verdict.status]}"
    show.OUT.print(meaning, highlight=False)
    for task in plan.tasks:
        _task(task, verdict.standings[task.name])
    if plan.of_many:
        seconds = plan.seconds.get("predicting", 0.0)
        line(f"{verdict.scored} forecasts in {seconds:.1f} s; nothing was evaluated", style="dim")
    _origins(plan)


def line(text: str, *, mark: str = "", style: str = "") -> None:
    """A line for people in which rich reads no markup, wrapped beside its mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for cell in (mark, text)[not mark :]:
        grid.add_column(no_wrap=cell is mark)
    grid.add_row(*map(escape, (mark, text)[not mark :]))
    show.OUT.print(grid, style=style, highlight=False)


def _columns(plan: "Plan") -> list[str]:
    """What is shown of every merge: the objective, unless it is a task, and every task."""
    tasks = [task.name for task in plan.tasks]
    heading = plan.verdict.objective.heading(tasks)
    return tasks if heading in tasks else [heading, *tasks]


def _needed_width(plan: "Plan") -> int:
    """Columns of a table with labels in one row each; of two models, with all intervals."""
    widest = max(len(choice.label) for choice in _in_order(plan))
    first = 18 + 11 if plan.of_many else 18  # an interval, and `cautious`
    least = 6 if plan.of_many else 18
    return widest + 10 + first + sum(3 + max(least, len(name)) for name in _columns(plan)[1:])


def _merges(plan: "Plan", *, numbered: bool) -> Table:
    """The merges with their utilities, or their numbers in a list that follows; only the first
    column has intervals where room is short."""
    heading, columns = plan.verdict.objective.heading([t.name for t in plan.tasks]), _columns(plan)
    choices = _in_order(plan)
    roomy = not plan.of_many and show.OUT.width >= _needed_width(plan)
    of = "" if plan.of_many else f" of {' + '.join(m.name for m in plan.recipe.models)}"
    table = Table(title=escape(f"Utility{of}: {UNIT}"))
    table.add_column("merge", overflow="fold")
    both = bool(plan.tried) and not plan.of_many  # labels of trees need the room, and have a mark
    if both:
        table.add_column("is")
    if plan.of_many:
        table.add_column("cautious", justify="right", no_wrap=True)
    for column in columns:
        table.add_column(escape(column), justify="right", no_wrap=True)
    for number, choice in enumerate(choices, 1):
        spreads = {heading: plan.verdict.value(choice)} | choice.spreads()
        cells = [
            spell_interval(spreads[column]) if roomy or not place else f"{spreads[column][0]:.2f}"
            for place, column in enumerate(columns)
        ]
        how = ["tried" if choice.label in plan.tried else "predicted"] if both else []
        careful = [f"{_cautious(choice, plan):.2f}"] if plan.of_many else []
        style = "bold" if choice is plan.best else ""
        called = str(number) if numbered else choice.label
        table.add_row(_name(called, choice, plan), *how, *careful, *cells, style=style)
    return table


def _in_order(plan: "Plan") -> "list[Choice]":
    """The merges that are shown, in order of the first column of numbers."""
    if plan.of_many:
        return sorted(plan.choices[:ROWS], key=lambda choice: -_cautious(choice, plan))
    return sorted(plan.choices, key=lambda choice: -plan.verdict.value(choice)[0])


def _cautious(choice: "Choice", plan: "Plan") -> float:
    """What a merge of many is put in order by."""
    return Order(objective=plan.verdict.objective, caution=CAUTION).value(choice)


def _name(called: str, choice: "Choice", plan: "Plan") -> str:
    short = bool(plan.verdict.missing(choice))
    first = CHOSEN if choice is plan.best else SHORT if short else " "
    marks = PARETO if _front_is_shown(plan) and plan.verdict.on_front(choice) else ""
    marks += RAN if choice.label in plan.verdict.tried else ""
    return f"{first} {escape(called)} {marks}".rstrip()


def _front_is_shown(plan: "Plan") -> bool:
    return not plan.of_many and len(plan.tasks) > 1 and plan.verdict.status != "abstained"


def _legend(plan: "Plan") -> None:
    """What the marks in the table mean, of those that are there."""
    if plan.of_many:
        line("cautious: with one standard deviation taken off; best first by that", style="dim")
    if _front_is_shown(plan):
        line(f"{PARETO} no other is better on one task and as good on all", style="dim")
    if any(plan.verdict.missing(choice) for choice in plan.choices):
        line(f"{SHORT} keeps less than is asked for", style="dim")
    if plan.verdict.tried:
        line(f"{RAN} made and run on the probes, the others predicted; not evaluated", style="dim")


def _task(task: "Task", standing: "Standing") -> None:
    """Who is the expert, what is best for the task alone, and how far it is from training."""
    from simmerge_hub.selector.predictor.wording import decisive

    line(f"\n{task.name}: the expert is {task.expert} ({task.source})", style="bold")
    reasons = decisive(standing.contributions)
    if standing.best is not None:
        label, spread = standing.best
        best = f"best for it alone: {label}, {spell_interval(spread)}"
        over = f", over {standing.next_best} by {standing.lead:.2f}" if standing.next_best else ""
        line(f"{best}{over}{', because (with what each adds)' if reasons else ''}", mark=" ")
    for each in reasons:
        line(f"{each.says}: {each.lead:+.2f}", mark="  -")
    if standing.novelty.status != "calibrated":
        line(f"{standing.novelty.status}: {standing.novelty.reason}", mark=" ")
    line(_distance(standing), mark=" ", style="dim")


def _distance(standing: "Standing") -> str:
    """How far the models are from the training data, beside what is usual there."""
    from simmerge_hub.selector.predictor.wording import describe

    novelty, usual = standing.novelty, standing.usual
    near = f" (usual up to {usual.distance:.2f})" if usual else ""
    out = f" (usual up to {usual.outside:.1%})" if usual else ""
    said = (
        f"from the training data: nearest pair {novelty.distance:.2f} away{near}, from 0 = alike "
        f"to 1 = opposite; {novelty.outside:.1%} of what was compared is out of range{out}"
    )
    if novelty.strange and novelty.status != "calibrated":
        said += f", most of all {', '.join(map(describe, novelty.strange[:3]))}"
    return said


def _origins(plan: "Plan") -> None:
    """What was left out, and what the plan was made from."""
    line("")
    told = plan.survey.dropped if plan.survey else {}
    for reason, names in group_reasons(
        {w: r for w, r in plan.left_out.items() if w not in told}
    ).items():
        line(f"left out: {', '.join(names)}: {reason}", style="dim")
    alike = group_reasons({name: show.origins(parts) for name, parts in plan.signatures.items()})
    for origin, names in alike.items():
        several = "signature" if len(names) == 1 else "signatures"
        line(f"{several} of {', '.join(names)}: {origin}", style="dim")
    line(f"predictor: {plan.predictor[:12]}, from {plan.predictor_from}", style="dim")


def _survey(survey: "Survey", plan: "Plan") -> None:
    """The candidates of a catalogue, kept and dropped."""
    made_from = "" if survey.place.endswith(f" {survey.base}") else f", made from {survey.base}"
    line(
        f"{spell_count(survey.listed, 'candidate')} in {survey.place}{made_from}: "
        f"{len(survey.shortlist)} are searched, {len(survey.dropped)} left out",
        style="bold",
    )
    show.OUT.print(_shortlist(survey, plan.tasks))
    for reason, names in fold(survey.dropped).items():
        line(f"{reason}: {list_first(names, NAMES)}", mark="-", style="dim")
    reading, signing = (plan.seconds.get(what, 0.0) for what in ("reading", "signing"))
    line(f"read in {reading:.1f} s, signed in {signing:.1f} s", style="dim")
    line("")


def fold(dropped: Mapping[str, str]) -> dict[str, list[str]]:
    """Reason -> names; reasons that differ only in how many others are better are one."""
    counts: dict[str, list[int]] = {}
    names: dict[str, list[str]] = {}
    for name, reason in dropped.items():
        number = BETTER.match(reason)
        key = f"{{}}{reason[number.end() :]}" if number else reason
        if number:
            counts.setdefault(key, []).append(int(reason.split()[0]))
        names.setdefault(key, []).append(name)
    return {_count(key, counts.get(key)): each for key, each in names.items()}


def _count(key: str, counts: list[int] | None) -> str:
    if counts is None:
        return key
    least, most = min(counts), max(counts)
    several = f"{least}" if least == most else f"{least} to {most}"
    said = "1 other states a better score" if most == 1 else f"{several} others state better scores"
    return said + key.removeprefix("{}")


def _shortlist(survey: "Survey", tasks: "Sequence[Task]") -> Table:
    table = Table()
    table.add_column("searched", overflow="fold")
    table.add_column("good at, by the score on its card")
    best = {task.name: max(task.scores.values(), default=0.0) for task in tasks}
    named = {task.expert: f"{task.name}, as you say" for task in tasks if task.named}
    for name, scores in survey.shortlist.items():
        good = [task for task in scores if scores[task] >= GOOD * best[task]]
        good.sort(key=lambda task: -scores[task])
        told = [f"{task} {scores[task]:.2f}" for task in good] or [named.get(name, "nothing")]
        table.add_row(escape(name), escape(list_first(told, NAMES)))
    return table
