"""Propose, try, keep, until the budget is spent: knows neither models nor how they are scored.

What is tried first is given; then Optuna's TPE proposes. Every point is first tried on a quarter of
the prompts, and only one that does as well as the median so far gets all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from simmerge_hub.errors import RequestError
from simmerge_hub.learning.searching.attempts import Attempt, read_state, start_state
from simmerge_hub.learning.searching.proposals import propose
from simmerge_hub.selector.tables.lines import add_line

FIRST_RUNG = 4
"""A merge is first put one in so many of the prompts."""
DEAREST = 1 + 1 / FIRST_RUNG
"""What a merge that is put all prompts costs."""
WITHOUT_QUESTION = 3
"""Merges that are put all prompts before any is stopped."""

Judge = Callable[[float], bool]
"""The score on a quarter of the prompts -> whether the merge is put all of them."""
TryPoint = Callable[[Mapping[str, Any], Judge], Attempt]
"""A point of the space -> what became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quest:
    """How a search goes.

    Args:
        models: how many are merged.
        budget: evaluations of a merge on all prompts of all tasks.
        starts: points that are tried first; of a search that goes on, those it began with.
        seed: of what is proposed.
    """

    models: int
    budget: float
    starts: tuple[Mapping[str, Any], ...] = ()
    seed: int = 0


def run_quest(
    quest: Quest,
    try_point: TryPoint,
    state: Path,
    of: str,
    tell: Callable[[Attempt, float], None] = lambda attempt, spent: None,
) -> list[Attempt]:
    """All attempts that the budget pays for, those of `state` included.

    Args:
        quest: how it goes.
        try_point: makes a merge and scores it.
        state: the file that keeps attempts; a search that was cut off goes on from there.
        of: digest of what attempts follow from.
        tell: called with every attempt, and what is spent.

    Raises:
        RequestError: the budget pays for no merge, or the state is another search's.
    """
    check_budget(quest.budget)
    attempts, begun = read_state(state, of)
    if attempts:  # what is predicted now may differ, and what was paid for counts
        quest = replace(quest, starts=begun)
    start_state(state, of, quest.starts, attempts)
    while (spent := sum(a.cost for a in attempts)) + DEAREST <= quest.budget:
        attempts.append(try_point(_next_point(quest, attempts), _judge(attempts)))
        add_line(state, asdict(attempts[-1]))
        tell(attempts[-1], spent + attempts[-1].cost)
    return attempts


def check_budget(budget: float) -> None:
    """RequestError if it pays for no merge."""
    if budget < DEAREST:
        raise RequestError(
            f"a budget of {budget:g} pays for no merge",
            hint=f"one takes up to {DEAREST:g} evaluations: --budget 2",
        )


def _next_point(quest: Quest, attempts: Sequence[Attempt]) -> Mapping[str, Any]:
    if len(attempts) < len(quest.starts):
        return quest.starts[len(attempts)]
    return propose(attempts, quest.models, quest.seed)


def _judge(attempts: Sequence[Attempt]) -> Judge:
    """Whether a quarter of the prompts went as well as in the median so far."""
    earlier = [a.few for a in attempts if a.few is not None]
    return lambda few: len(earlier) < WITHOUT_QUESTION or few >= median(earlier)
