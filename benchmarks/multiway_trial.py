"""Merges that are run on the probes and forecast again by their likeness to the experts alone."""

from collections.abc import Callable, Mapping, Sequence

from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.choice import CAUTION, Choice, Order
from simmerge_hub.planning.tree import Tree, sees_activations
from simmerge_hub.planning.trees.forecast import Forecast
from simmerge_hub.signatures.probing.sketch import Sketch

Run = Callable[[Tree], Mapping[str, Sketch]]
"""Makes a tree's merge and runs it on the probes: task -> what it did."""


def try_first(
    forecast: Forecast, ranked: Sequence[Choice], objective: Objective, count: int, run: Run
) -> list[Choice]:
    """The first `count` merges of three models and more are run and forecast again.

    They come first, with the merges of two that were among them, in their new order; what was
    ranked behind them stays behind.
    """
    places = [
        i
        for i, choice in enumerate(ranked)
        if len(choice.tree.models) > 2 and not sees_activations(choice.tree)
    ][:count]
    for i in places:
        forecast.runs[ranked[i].tree.label] = run(ranked[i].tree)
    last = max(places, default=-1) + 1
    again = forecast.trees(choice.tree for choice in ranked[:last])
    return [*Order(objective=objective, caution=CAUTION).sort(again), *ranked[last:]]
