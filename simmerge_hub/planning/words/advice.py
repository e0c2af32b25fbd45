"""What is said of a plan first: do it, do it with care, or rather do something else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from simmerge_hub.names import join_names
from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.choice import Choice, model_alone
from simmerge_hub.planning.verdict import LOST, Verdict
from simmerge_hub.planning.words.names import name_tree
from simmerge_hub.units import spell_percent

Tone = Literal["good", "careful", "bad"]
"""Do it; do it and look; rather do not."""
HALF = 0.5
"""Who keeps less of an expert's score has lost most of the skill."""
BETTER = 0.1
"""Utility on its worst task by which another merge must be ahead to be spoken of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What is said first, and what else could be done.

    Args:
        tone: how good the news is.
        headline: one sentence.
        instead: what else to do, each a line; empty where nothing speaks against the merge.
    """

    tone: Tone
    headline: str
    instead: tuple[str, ...] = ()


def advise(
    verdict: Verdict, tasks: Sequence[Task], models: Sequence[str], short: Callable[[str], str]
) -> Advice:
    """What to say first of a verdict.

    Args:
        verdict: the merges that were judged.
        tasks: what they are for; utilities are shares of the task expert's score.
        models: all that were given, also those that the best merge does without.
        short: how a model is called.
    """
    best = verdict.best
    merged = " + ".join(map(short, best.tree.models))
    if verdict.status == "abstained":
        return Advice(
            tone="careful",
            headline=f"Merge {merged} {_by_what(verdict)}, and evaluate it: how good it gets "
            "cannot be predicted",
        )
    single = _best_alone(tasks, models, verdict)
    value = verdict.value(best)[0]
    if single is not None and single[1] >= value:
        return Advice(
            tone="bad",
            headline=f"Rather do not merge: {short(single[0])} alone is expected to be at least as "
            f"good as this merge ({spell_percent(single[1])} against {spell_percent(value)})",
            instead=("keep them apart, and ask each model what it is good at",),
        )
    return _by_skills(verdict, {task.name: task.expert for task in tasks}, models, short)


def _by_what(verdict: Verdict) -> str:
    """Who says so, where nothing is predicted."""
    if verdict.suggested:
        return "as the bandit suggests"
    if verdict.best.label in verdict.tried:
        return "as what kept most of those that were made and run"
    return "with the safest method"


def _by_skills(
    verdict: Verdict,
    experts: Mapping[str, str],
    models: Sequence[str],
    short: Callable[[str], str],
) -> Advice:
    """What becomes of the skills: lost with a model that is left out, lost, halved or kept."""
    best = verdict.best
    merged = " + ".join(map(short, best.tree.models))
    spreads = best.spreads()
    lost = [task for task in experts if spreads[task][0] < LOST]
    apart = dict.fromkeys(experts[t] for t in lost if experts[t] not in best.tree.models)
    gone = [task for task in lost if experts[task] in best.tree.models]
    weak = [task for task in experts if LOST <= spreads[task][0] < HALF]
    if gone:
        return Advice(
            tone="bad",
            headline=f"Merging {merged} is expected to lose {join_names(gone)}",
            instead=(*_leave_out(gone, experts, best, models, short), *_more_even(verdict, short)),
        )
    if apart:
        return Advice(
            tone="careful",
            headline=f"Merge {merged}, and keep {join_names(map(short, apart))} apart: no merge is "
            f"expected to keep all {len(experts)} skills",
            instead=tuple(f"use {short(experts[task])} by itself for {task}" for task in lost),
        )
    if weak:
        return Advice(
            tone="careful",
            headline=f"Merge {merged}, but expect to lose more than half of {join_names(weak)}",
            instead=("keep them apart, if you need all of it", *_more_even(verdict, short)),
        )
    without = [short(name) for name in models if name not in best.tree.models]
    rest = f", without {join_names(without)}" if without else ""
    return Advice(tone="good", headline=f"Merge {merged}{rest}")


def _leave_out(
    gone: Sequence[str],
    experts: Mapping[str, str],
    best: Choice,
    models: Sequence[str],
    short: Callable[[str], str],
) -> tuple[str, ...]:
    """Keep two apart; of more, plan without those whose skill would be lost."""
    losers = {experts[task] for task in gone}
    rest = [name for name in best.tree.models if name not in losers]
    if len(models) == 2 or len(rest) < 2:
        return ("keep them apart, and ask each model what it is good at",)
    without = join_names(short(name) for name in models if name in losers)
    return (f"plan {' + '.join(map(short, rest))} without {without}",)


def _more_even(verdict: Verdict, short: Callable[[str], str]) -> tuple[str, ...]:
    """The merge that keeps most of the skill that suffers most, if it keeps much more of it."""

    def least(choice: Choice) -> float:
        return min(belief.mean for belief in choice.beliefs.values())

    other = max(verdict.choices, key=least)
    if verdict.objective != Objective() or least(other) < max(LOST, least(verdict.best) + BETTER):
        return ()
    instead = ", without --bandit" if verdict.suggested else ""  # which refuses another objective
    return (
        f"--objective worst{instead}: {name_tree(other.tree, short)} keeps "
        f"{spell_percent(least(other))} or more of each",
    )


def _best_alone(
    tasks: Sequence[Task], models: Sequence[str], verdict: Verdict
) -> tuple[str, float] | None:
    """The best model by itself that keeps what must be kept, and its value; None if none does.

    Nor of a single task: its expert has all of it.
    """
    if len(tasks) < 2:
        return None
    known = {task.name: task.relative for task in tasks}
    alone = {m: model_alone(m, known) for m in sorted(models)}
    values = {m: verdict.value(one)[0] for m, one in alone.items() if not verdict.missing(one)}
    best = max(values, key=lambda model: values[model], default=None)
    return None if best is None else (best, values[best])
