"""Which subset, in which order, with which operators: the trees worth a forecast, best first.

Subsets grow one model at a time, and what is known of a smaller one is used in all larger ones.
Every distinct tree of up to three models is scored; beyond, of each subset only the best
intermediates are built upon, and with more than four models only the best of all subsets of a size.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

from simmerge_hub.errors import AlignmentError, ProbeError
from simmerge_hub.planning.objective import Objective
from simmerge_hub.planning.trees.forecast import Candidate, Forecast
from simmerge_hub.planning.trees.tree import identity, leaning, splits

BEAM = 8
"""Intermediates of a subset that are built upon."""
WIDEST = 24
"""Of all subsets of one size, where there are more than EXHAUSTIVE models."""
EXHAUSTIVE = 4
CAUTION = 1.0
"""Standard deviations below the mean at which plans are judged."""
IDLE = 0.05
"""Utility that a model must add which is the best at no task; chosen on sets to learn from, with
models planted that mostly do harm (docs/log.md)."""

Subset = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How a plan of many models searches for its tree.

    Args:
        least, most, beam, step_weights, probe_intermediates: as of `plan_many`.
        field: of more models than this, all pairs are tried first, and only the models of the best
            pairs go on.
    """

    least: int = 2
    most: int | None = None
    beam: int = BEAM
    field: int | None = None
    step_weights: Literal["even", "predicted"] = "even"
    probe_intermediates: int = 0

    def check_numbers(self, count: int) -> None:
        """AlignmentError unless a merge can have so many of `count` models."""
        most = self.most or count
        if not 2 <= self.least <= min(most, count):
            raise AlignmentError(
                f"a merge shall have {self.least} to {most} of {count} models",
                hint="it has at least 2 and at most all: --min-models 2",
            )

    def check_trials(self, signals: str) -> None:
        """ProbeError if merges shall be tried on probes, and none are run."""
        if self.probe_intermediates and signals != "full":
            raise ProbeError(
                "merges are tried on the tasks' probes, and none are run",
                hint="leave out --probe-intermediates, or --signals structural",
            )


def search(
    forecast: Forecast,
    objective: Objective,
    *,
    least: int = 2,
    most: int | None = None,
    beam: int = BEAM,
    caution: float = CAUTION,
) -> list[Candidate]:
    """All trees that were scored, best first; the same for the same input, whatever its order.

    Args:
        forecast: of the models that are there to choose from.
        objective: what a tree is judged by, at `caution` standard deviations below the mean of
            every task: the best of many guesses is too good to be true.
        least, most: how many models a plan may have; at most all of them.
        beam: intermediates of a subset that are built upon; 0: all.
        caution: see `objective`.
    """
    models = sorted(forecast.models)
    most = min(most or len(models), len(models))
    table: dict[Subset, list[Candidate]] = {Subset({m}): [forecast.model(m)] for m in models}
    found: list[Candidate] = []

    for size in range(2, most + 1):
        level = _level(forecast, table, models, size)
        if size >= least:
            found += [candidate for each in level.values() for candidate in each]
        for subset, candidates in level.items():
            table[subset] = in_order(candidates, objective, caution)[: beam or None]
        if beam and len(models) > EXHAUSTIVE:
            whole = [candidate for subset in level for candidate in table[subset]]
            kept = {c.tree.label for c in in_order(whole, objective, caution)[:WIDEST]}
            for subset in level:
                table[subset] = [c for c in table[subset] if c.tree.label in kept]
    return in_order(found, objective, caution)


def leaned(
    forecast: Forecast,
    ranked: Sequence[Candidate],
    objective: Objective,
    *,
    count: int = BEAM,
    caution: float = CAUTION,
) -> list[Candidate]:
    """The candidates, and the first `count` of them with other weights in their last steps."""
    others = forecast.trees(tree for c in ranked[:count] for tree in leaning(c.tree))
    return in_order([*ranked, *others], objective, caution)


def in_order(
    candidates: Iterable[Candidate], objective: Objective, caution: float = CAUTION
) -> list[Candidate]:
    """Best first: by what must be kept, then the objective with caution, less IDLE for every model
    that is the best at no task, then the label."""

    def place(candidate: Candidate) -> tuple[float, float, str]:
        spreads = candidate.spreads(caution)
        short = sum(objective.missing(spreads).values())
        value = objective.value(spreads)[1] - IDLE * len(candidate.idle)
        return short, -value, candidate.tree.label

    return sorted(candidates, key=place)


def _level(
    forecast: Forecast, table: dict[Subset, list[Candidate]], models: Sequence[str], size: int
) -> dict[Subset, list[Candidate]]:
    """Subset of this size -> its distinct trees, of what is known of smaller ones."""
    pairs: list[tuple[Candidate, Candidate]] = []
    level: dict[Subset, dict[Hashable, Candidate]] = {}
    for chosen in combinations(models, size):
        before = len(pairs)
        for one, other in splits(chosen):
            parts = (table.get(Subset(one), ()), table.get(Subset(other), ()))
            pairs += product(*parts)
        if len(pairs) > before or size == 2:
            _keep(level, forecast.at_once(chosen))
    _keep(level, forecast.steps(pairs))
    return {subset: list(each.values()) for subset, each in level.items()}


def _keep(level: dict[Subset, dict[Hashable, Candidate]], candidates: Iterable[Candidate]) -> None:
    """Of trees that give the same merge the first, which has the fewest steps."""
    for candidate in candidates:
        tree = candidate.tree
        level.setdefault(Subset(tree.models), {}).setdefault(identity(tree), candidate)
