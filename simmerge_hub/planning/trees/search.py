"""Which subset, in which order, with which operators: the trees worth a forecast, best first.

Subsets grow one model at a time, and what is known of a smaller one is used in all larger ones.
Every distinct tree of up to three models is scored; beyond, of each subset only the best
intermediates are built upon, and with more than four models only the best of all subsets of a size.
"""

from collections.abc import Hashable, Sequence
from itertools import combinations, product

from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.ask.options import BEAM
from simmerge_hub.planning.choice import CAUTION, Choice, Order
from simmerge_hub.planning.tree import (
    Tree,
    at_once,
    identity,
    join,
    pairwise,
    sees_activations,
    splits,
    vary_weights,
)
from simmerge_hub.planning.trees.forecast import Forecast

WIDEST_LEVEL = 24
"""Of all subsets of one size, where there are more than EXHAUSTIVE models."""
EXHAUSTIVE = 4

Subset = frozenset[str]
Table = dict[Subset, list[Choice]]
"""Models -> their trees."""


def search(
    forecast: Forecast,
    objective: Objective,
    *,
    least: int = 2,
    most: int | None = None,
    beam: int = BEAM,
    caution: float = CAUTION,
) -> list[Choice]:
    """All trees that were scored, best first; the same for the same input, whatever its order.

    Args:
        forecast: of the models that are there to choose from.
        objective: what a tree is judged by, at `caution` standard deviations below the mean of
            every task: the best of many guesses is too good to be true.
        least, most: how many models a plan may have; at most all of them.
        beam: intermediates of a subset that are built upon; 0: all.
        caution: see `objective`.
    """
    order = Order(objective=objective, caution=caution)
    models = sorted(forecast.models)
    table: Table = {Subset({m}): [forecast.model(m)] for m in models}
    ranked: list[Choice] = []
    for size in range(2, min(most or len(models), len(models)) + 1):
        level = _level(forecast, table, models, size)
        if size >= least:
            ranked += [choice for each in level.values() for choice in each]
        table |= _narrow(level, order, beam, len(models))
    return order.sort(ranked)


def lean(forecast: Forecast, ranked: Sequence[Choice], objective: Objective) -> list[Choice]:
    """The choices, and the first BEAM of them with other weights in their last steps."""
    others = forecast.trees(tree for c in ranked[:BEAM] for tree in vary_weights(c.tree))
    return Order(objective=objective, caution=CAUTION).sort([*ranked, *others])


def _level(forecast: Forecast, table: Table, models: Sequence[str], size: int) -> Table:
    """Subset of this size -> its distinct trees, of what is known of smaller ones."""
    base = forecast.base is not None
    one_step: list[Choice] = []
    steps: list[Tree] = []
    for chosen in combinations(models, size):
        before = len(steps)
        for parts in splits(chosen):
            for one, other in product(*(table.get(Subset(part), ()) for part in parts)):
                arms = pairwise(one.tree, other.tree, base=base)
                steps += [join(arm, one.tree, other.tree) for arm in arms]
        if len(steps) > before:
            one_step += forecast.trees(at_once(chosen, base=base, fed=forecast.fed))
    level: dict[Subset, dict[Hashable, Choice]] = {}
    for choice in (*one_step, *forecast.trees(steps)):  # of equals that with the fewest steps
        same = level.setdefault(Subset(choice.tree.models), {})
        same.setdefault(identity(choice.tree), choice)
    return {subset: list(each.values()) for subset, each in level.items()}


def _narrow(level: Table, order: Order, beam: int, models: int) -> Table:
    """The trees that larger subsets are built of, best first."""
    best = {
        subset: order.sort(c for c in choices if not sees_activations(c.tree))[: beam or None]
        for subset, choices in level.items()
    }
    if not beam or models <= EXHAUSTIVE:
        return best
    whole = order.sort(choice for choices in best.values() for choice in choices)
    kept = {choice.tree.label for choice in whole[:WIDEST_LEVEL]}
    return {
        subset: [choice for choice in choices if choice.tree.label in kept]
        for subset, choices in best.items()
    }
