"""Really making the most promising merges, one at a time, to see what they do on the probes.

Nothing is evaluated: there are no answers. Each merge is written to a temporary folder, run once
over the tasks' prompts, and deleted.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.merger import merge
from simmerge_hub.planning.forecast import Candidate, Forecast
from simmerge_hub.planning.objective import Objective
from simmerge_hub.planning.search import CAUTION, in_order
from simmerge_hub.planning.trees import Tree
from simmerge_hub.recipe import Recipe
from simmerge_hub.signatures.probe import ProbeSet, run_probes
from simmerge_hub.signatures.sketch import Sketch

Run = Callable[[Tree], Mapping[str, Sketch]]
"""Makes a tree's merge and runs it on the probes: task -> what it did."""


def tried(
    forecast: Forecast,
    ranked: Sequence[Candidate],
    objective: Objective,
    count: int,
    run: Run,
    *,
    caution: float = CAUTION,
) -> list[Candidate]:
    """The first `count` merges of three models and more are run, forecast again, and come first.

    Args:
        forecast: where `ranked` comes from; remembers what was run.
        ranked: candidates, best first.
        objective, caution: what they are put in order by.
        count: how many are run; a merge of two is forecast as a pair, and never run.
        run: see `Run`.
    """
    chosen = list(ranked[:count])
    for candidate in chosen:
        if len(candidate.tree.models) > 2:
            forecast.ran[candidate.tree.label] = run(candidate.tree)
    again = forecast.trees(candidate.tree for candidate in chosen)
    return in_order(again, objective, caution) + list(ranked[count:])


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
