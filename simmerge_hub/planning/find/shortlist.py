"""Many candidates -> the best few for every task, by the scores on their cards.

So the search stays small, and only the few need signatures. Who is passed over is told why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.planning.ask.options import Tasks
from simmerge_hub.planning.ask.tasks import Task, tasks_of, tasks_on_card

GOOD = 0.5
"""A model is good at a task from this share of the best score on."""
TASKS_SHOWN = 5
"""Tasks that a reason names."""
NO_SCORE = (
    "its card states no score for any task, so nothing is known that it is good at: "
    "--expert TASK=MODEL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortlist:
    """The models that are left, in their order, and what they are merged for.

    `passed` maps the models that are not taken to the reason, `dropped` the tasks.
    """

    models: tuple[Checkpoint, ...]
    tasks: tuple[Task, ...]
    passed: Mapping[str, str]
    dropped: Mapping[str, str]


def shorten(models: Sequence[Checkpoint], count: int, asked: Tasks = Tasks()) -> Shortlist:
    """Take the best for every task, then the second best, and so on, until there are enough.

    Args:
        models: that can be merged with each other.
        count: how many to take at most.
        asked: if it names experts, their tasks are the only ones.

    Raises:
        ProbeError: no task has an expert, or a named expert is not among the models.
    """
    passed = {} if asked.experts else {m.name: NO_SCORE for m in models if not tasks_on_card(m)}
    known = [model for model in models if model.name not in passed]
    if len(known) < 2:
        return Shortlist(models=tuple(known), tasks=(), passed=passed, dropped={})
    tasks, dropped = tasks_of(known, asked, rivals=True)
    ranks = {task.name: _rank(task) for task in tasks}
    taken = _take(ranks, count, [task.expert for task in tasks if task.named])
    passed |= {m.name: _why(m, tasks) for m in known if m.name not in taken}
    chosen = tuple(model for model in known if model.name in taken)
    room = len({names[0] for names in ranks.values()})
    full = {
        task: f"the shortlist of {count} has no room for its best model: --shortlist {room}"
        for task, names in ranks.items()
        if names[0] not in taken
    }
    if len(chosen) > 1:
        tasks, lost = tasks_of(chosen, asked, rivals=True)
        dropped |= lost
    tasks = tuple(task for task in tasks if task.name not in full)
    return Shortlist(models=chosen, tasks=tasks, passed=passed, dropped={**dropped, **full})


def _rank(task: Task) -> list[str]:
    """The models that are good at a task, the expert first."""
    scores = task.scores
    best = max(scores.values(), default=0.0)
    good = [name for name in scores if scores[name] >= GOOD * best and name != task.expert]
    return [task.expert, *sorted(good, key=lambda name: (-scores[name], name))]


def _take(ranks: Mapping[str, Sequence[str]], count: int, named: Sequence[str]) -> set[str]:
    """The best of every task, then the seconds …; tasks with many good models come first."""
    taken = set(named)
    tasks = sorted(ranks, key=lambda task: (-len(ranks[task]), task))
    for place in range(max(map(len, ranks.values()))):
        for task in tasks:
            if len(taken) >= count:
                return taken
            taken |= set(ranks[task][place : place + 1])
    return taken


def _why(model: Checkpoint, tasks: Sequence[Task]) -> str:
    """Why a model is passed over: the task it is nearest to the top of, and who is above it."""
    own = [task for task in tasks if model.name in task.scores]
    if not own:
        stated = tasks_on_card(model)
        told = f"only for {', '.join(stated[:TASKS_SHOWN])}, not" if stated else "none"
        wanted = ", ".join(task.name for task in tasks[:TASKS_SHOWN])
        return f"its card states scores {told} for {wanted}"

    def above(task: Task) -> int:
        return sum(score > task.scores[model.name] for score in task.scores.values())

    task = min(own, key=above)
    count = above(task)
    if count == 1:
        return f"1 other states a better score on {task.name}"
    if count:
        return f"{count} others state better scores on {task.name}"
    equal = [name for name, score in task.scores.items() if score == task.scores[model.name]]
    if len(equal) > 1 and task.expert != model.name:
        return f"others state as good a score on {task.name}"
    return f"is the best on {task.name} by its card, and the shortlist is full"
