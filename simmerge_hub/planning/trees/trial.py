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
from simmerge_hub.planning.ask.options import Say
from simmerge_hub.planning.choice import CAUTION, Choice, Order
from simmerge_hub.planning.evidence import Evidence, prompts_by_model
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.tree import Tree, recipe_of, sees_activations
from simmerge_hub.planning.trees.forecast import Forecast
from simmerge_hub.signatures.probing.probe import run_probes
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
        count: how many are run; a merge of two is forecast as a pair, and not run, and of one that
            looks at activations no more is known after it.
        run: see `Run`.
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
    order = Order(objective=objective, caution=CAUTION)
    return [*order.sort(again), *ranked[last:]]


def runner(inputs: Inputs, evidence: Evidence, progress: Say) -> Run:
    """Merges trees of these models into a temporary folder, and runs their probes through it.

    It raises SimmergeError as `merge` and `run_probes` do; nothing is left behind.

    Args:
        inputs: the models.
        evidence: the probes, and the signatures, whose dtype is computed in.
        progress: told which merge is tried.
    """
    probes = tuple(evidence.probes.values())
    dtype = evidence.signatures[inputs.names[0]].settings.dtype
    prompts = prompts_by_model(inputs, evidence)

    def run(tree: Tree) -> Mapping[str, Sketch]:
        progress(f"trying {tree.label}")
        with TemporaryDirectory(prefix="simmerge-") as folder:
            made = Path(folder) / "merge"
            merge(recipe_of(tree, inputs.models, inputs.base, prompts), made, durable=False)
            return run_probes(resolve(str(made)), None, probes, dtype=dtype)

    return run
