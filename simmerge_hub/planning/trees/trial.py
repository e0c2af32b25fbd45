"""Really making the most promising merges, one at a time, to see what they do on the probes.

Nothing is evaluated: there are no answers. Each merge is written to a temporary folder, run once
over the tasks' prompts, and deleted.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.merger import merge
from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.choice import CAUTION, Choice, Order
from simmerge_hub.planning.tree import Tree
from simmerge_hub.planning.trees.forecast import Forecast
from simmerge_hub.recipe import Recipe
from simmerge_hub.signatures.probing.probe import ProbeSet, run_probes
from simmerge_hub.signatures.probing.sketch import Sketch

Run = Callable[[Tree], Mapping[str, Sketch]]
"""Makes a tree's merge and runs it on the probes: task -> what it did."""


def try_first(
    forecast: Forecast,
    ranked: Sequence[Choice],
    objective: Objective,
    count: int,
    run: Run,
) -> list[Choice]:
    """The first `count` merges of three models and more are run and forecast again.

    They come first, with the merges of two that were among them, in their new order; what was
    ranked behind them stays behind: a guess is no match for what was seen.

    Args:
        forecast: where `ranked` comes from; remembers what was run.
        ranked: choices, best first.
        objective: what they are put in order by, with CAUTION.
        count: how many are run; a merge of two is forecast as a pair, and not run.
        run: see `Run`.
    """
    places = [i for i, choice in enumerate(ranked) if len(choice.tree.models) > 2][:count]
    for i in places:
        forecast.ran[ranked[i].tree.label] = run(ranked[i].tree)
    last = max(places, default=-1) + 1
    again = forecast.trees(choice.tree for choice in ranked[:last])
    order = Order(objective=objective, caution=CAUTION)
    return [*order.sort(again), *ranked[last:]]


def run_merge(recipe: Recipe, probes: Sequence[ProbeSet], *, dtype: str) -> Mapping[str, Sketch]:
    """Merge into a temporary folder and run the probes through the result.

    Args:
        recipe: what to merge.
        probes: what to run.
        dtype: what to compute in; that of the models' signatures.

    Raises:
        SimmergeError: as `merge` and `run_probes`; nothing is left behind.
    """
    with TemporaryDirectory(prefix="simmerge-") as folder:
        made = Path(folder) / "merge"
        merge(recipe, made, durable=False)
        return run_probes(resolve(str(made)), None, probes, dtype=dtype)
