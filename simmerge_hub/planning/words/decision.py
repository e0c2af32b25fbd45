"""A verdict as one screen: what to do, what to expect of it, how sure that is, and why.

Knows no terminal: whoever shows it (command line, notebook, page) draws the bars.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simmerge_hub.names import list_first
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.choice import Choice
from simmerge_hub.planning.verdict import Verdict
from simmerge_hub.planning.words.advice import Advice, advise
from simmerge_hub.planning.words.names import name_tree, shorten
from simmerge_hub.recipe.why import Status
from simmerge_hub.units import Spread, spell_percent

OTHERS_SHOWN = 3
"""Other merges that are shown beside the chosen one."""
TASKS_SHOWN = 6
"""Tasks of which a bar is shown; the rest are counted."""
COLUMNS = 4
"""Numbers that stand beside another merge."""
NOT_TRIED = ", not tried"
"""What stands after a merge that was predicted, where others were made and run."""
SURE: dict[Status, str] = {
    "tried": "it was made and run; {coverage} of such tests ended inside these ranges",
    "calibrated": "like the pairs it was tested on; {coverage} of them ended inside these ranges",
    "extrapolated": "not very, the ranges do not hold here: {reason}",
    "abstained": "not at all: nothing like it was tested ({reason})",
}
"""How sure a plan is, by its status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What to expect of one task, as a share of its best model's score.

    Args:
        task: its name.
        spread: (middle, low, high); None where nothing is predicted.
        expert: the model that is best at it.
    """

    task: str
    spread: Spread | None
    expert: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another merge, in words, and its values under the columns of the decision."""

    method: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One verdict, ready to be shown.

    Args:
        advice: what is said first.
        method: how to merge, in words; `label`: the same as recipes and files have it.
        bars: one a task, at most TASKS_SHOWN; so many `more` are left out.
        status, sure: how sure it is, in a word and in a sentence.
        why: why this merge, in a sentence.
        columns: what the values of `others` are; they stand in order of the first.
        others: merges that come next; none where nothing is predicted.
    """

    advice: Advice
    method: str
    label: str
    bars: tuple[Bar, ...]
    more: int
    status: Status
    sure: str
    why: str
    columns: tuple[str, ...]
    others: tuple[Other, ...]


def summarize(
    verdict: Verdict,
    tasks: Sequence[Task],
    models: Sequence[str],
    *,
    coverage: float,
    also: Sequence[str] = (),
) -> Decision:
    """A verdict as one screen.

    Args:
        verdict: the merges that were judged.
        tasks: what they are for.
        models: all that were given, also those that the best merge does without.
        coverage: the share of outcomes that intervals hold where they are calibrated.
        also: what else is known, for the end of the sentence on why it is taken.
    """
    short = shorten(models)
    columns = _columns(verdict, tasks)
    return Decision(
        advice=advise(verdict, tasks, models, short),
        method=name_tree(verdict.best.tree, short),
        label=verdict.best.label,
        bars=tuple(_bar(task, verdict) for task in tasks[:TASKS_SHOWN]),
        more=max(0, len(tasks) - TASKS_SHOWN),
        status=verdict.status,
        sure=_how_sure(verdict, coverage),
        why="; ".join(filter(None, (_why(verdict, [t.name for t in tasks], short), *also))),
        columns=columns,
        others=() if verdict.status == "abstained" else _others(verdict, columns, short),
    )


def _bar(task: Task, verdict: Verdict) -> Bar:
    known = verdict.status != "abstained"
    spread = verdict.best.spreads()[task.name] if known else None
    return Bar(task=task.name, spread=spread, expert=task.expert)


def _how_sure(verdict: Verdict, coverage: float) -> str:
    standings = verdict.standings.values()
    reasons = [s.novelty.reason for s in standings if s.novelty.status == verdict.status]
    return SURE[verdict.status].format(
        coverage=spell_percent(coverage),
        reason=next(iter(reasons), "merges of so many models were not tested"),
    )


def _why(verdict: Verdict, tasks: Sequence[str], short: Callable[[str], str]) -> str:
    """Why this merge, without the names that recipes use: by prediction, or as the safe one."""
    trust = verdict.trust
    if verdict.suggested:
        ids = list_first([f"{id} ({task})" for task, id in verdict.suggested.items()], 4)
        return f"the bandit tries it, to learn from what comes of it: report the gain as {ids}"
    if verdict.best.label in verdict.tried:
        return _seen(verdict)
    if verdict.status == "abstained" or (trust is not None and trust.beyond):
        return _evidence(verdict)
    many = bool(verdict.parts)
    count = len(verdict.choices)
    several = f"of {count} ways to merge" if count > 1 else "the only way to merge, and so"
    aimed = f"{several} the best {_aim(verdict, tasks)} by prediction"
    if trust is None:
        return aimed + (", with a margin for what is uncertain" if many else "")
    if trust.safe == trust.first:
        return f"{aimed}, and in {trust.cases:,} tests on pairs at least as unusual"
    if trust.followed:
        return f"{aimed}; in tests, leads like its lead over the usual method held"
    first = next((c.tree for c in verdict.choices if c.label == trust.first), None)
    other = name_tree(first, short) if first else trust.first
    return f"the safest in {trust.cases:,} tests; {other} seems better, by too little to rely on"


def _seen(verdict: Verdict) -> str:
    """What was seen of the best merge when it was run."""
    kept = verdict.tried[verdict.best.label].kept
    shares = ", ".join(f"{spell_percent(each.answers)} on {task}" for task, each in kept.items())
    count = len(verdict.tried)
    of = f"the best of {count} that were made and run" if count > 1 else "it was made and run"
    return of + (f"; of the experts' own answers it keeps {shares}" if shares else "")


def _aim(verdict: Verdict, tasks: Sequence[str]) -> str:
    heading = verdict.objective.heading(tasks)
    known = {"mean": "on average", "worst": "on its worst task"}
    return known.get(heading, f"by the {heading}" if " " in heading else f"on {heading}")


def _evidence(verdict: Verdict) -> str:
    """What a verdict that predicts nothing rests on, without the merge's name in front."""
    first = next((each for each in verdict.because if "evidence" in each), "nothing speaks for it")
    arm = verdict.best.tree.arm
    said = first.partition(": ")[2] or first
    return said.replace(arm.label if arm else verdict.best.label, "it")


def _columns(verdict: Verdict, tasks: Sequence[Task]) -> tuple[str, ...]:
    names = [task.name for task in tasks]
    heading = verdict.objective.heading(names)
    return tuple(dict.fromkeys([heading, *names]))[:COLUMNS]


def _others(
    verdict: Verdict, columns: Sequence[str], short: Callable[[str], str]
) -> tuple[Other, ...]:
    """The merges that come next, in order of the first column; those that were tried come first."""
    rest = [c for c in verdict.choices if c is not verdict.best and not verdict.missing(c)]
    unseen = {c.label for c in rest if verdict.tried and c.label not in verdict.tried}
    shown = sorted(
        rest[:OTHERS_SHOWN],
        key=lambda choice: (choice.label in unseen, -verdict.value(choice)[0]),
    )
    return tuple(
        Other(
            method=name_tree(choice.tree, short) + (NOT_TRIED if choice.label in unseen else ""),
            values=_values(choice, columns, verdict),
        )
        for choice in shown
    )


def _values(choice: Choice, columns: Sequence[str], verdict: Verdict) -> tuple[str, ...]:
    spreads = {columns[0]: verdict.value(choice)} | choice.spreads()
    return tuple(spell_percent(spreads[column][0]) for column in columns)
