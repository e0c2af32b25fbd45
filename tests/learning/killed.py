"""learn and search in processes of their own, which are killed with SIGKILL at random moments.

Evaluations are the stand-in of `tests.evaluations`, so that a run takes seconds; merges, signatures
and files are real. benchmarks/kills.py does the same with the command line and the harness.
"""

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.evaluation.harness import Machine
from simmerge_hub.learning import trying
from simmerge_hub.learning.catalogue import open_catalogue
from simmerge_hub.learning.learn import JOURNAL_FILE, learn, open_trial
from simmerge_hub.learning.recipe import LearnRecipe, LearnTask
from simmerge_hub.learning.searching.search import RECIPE_NAME, STATE_FILE, search
from simmerge_hub.learning.searching.space import RANGES
from simmerge_hub.learning.tables import FEATURES_FILE, MEASUREMENTS_FILE, OUTCOMES_FILE
from simmerge_hub.operators import arm
from tests.evaluations import StandIn

RECIPE = LearnRecipe(
    models=tuple(str(nano_folder() / name) for name in ("code", "instruct", "math")),
    collection=None,
    base=str(nano_folder() / "base"),
    tasks=tuple(LearnTask(name=n, evaluate=f"nano_{n}") for n in ("code", "math")),
    arms=(arm("linear"), arm("slerp")),
    budget=6,
    limit=10,
)
STATES = {"learn": JOURNAL_FILE, "search": STATE_FILE}
"""What grows while a command runs."""
ENDS = {
    "learn": (MEASUREMENTS_FILE, OUTCOMES_FILE, FEATURES_FILE),
    "search": (STATE_FILE, MEASUREMENTS_FILE, RECIPE_NAME),
}
"""What it ends with."""

LATER = 0.05
"""Seconds, at most, from a state with so many lines to the kill."""


def run(command: str, folder: Path) -> None:
    """The command, in this process."""
    trying.evaluate = StandIn()  # type: ignore[assignment]
    if command == "learn":
        learn(RECIPE, folder, fit=False)
        return
    for dear in ("regmean", "regmean++"):
        RANGES.pop(dear, None)
    recipe = replace(RECIPE, models=RECIPE.models[::2])
    inputs = open_catalogue(recipe)
    trial, _ = open_trial(recipe, inputs, folder, Machine(), lambda *_: None, None)
    search(trial, folder, budget=8, starts=[arm("linear"), arm("ties", density=0.3)])


def kill_at_random(
    command: Callable[[Path], None], folder: Path, state: str, times: int, seed: int
) -> list[int]:
    """Start a command and kill -9 it, `times` over, then let it end.

    The moments are drawn: how many lines the state shall have, and how long after that. So they
    fall into the middle of the work however fast the machine is.

    Args:
        command: run in processes that are forked from one that has imported this module.
        folder: what it is told to write to; `-whole` is where nothing kills it.
        state: the file of the folder that grows.
        times: kills.
        seed: of the moments.

    Returns:
        Lines of the state at each kill.
    """
    draw, seen = random.Random(seed), list[int]()
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    whole = folder.with_name(f"{folder.name}-whole")
    _finish(context.Process(target=command, args=(whole,)))
    lines = _lines(whole / state)
    while len(seen) < times:
        process = context.Process(target=command, args=(folder,))
        process.start()
        wanted = draw.randint(min(_lines(folder / state), lines - 2), lines - 2)
        while process.is_alive() and _lines(folder / state) < wanted:
            time.sleep(0.005)
        process.join(draw.uniform(0, LATER))
        if not process.is_alive():  # it ended before: there was nothing left to kill
            shutil.rmtree(folder)
            continue
        process.kill()
        process.join()
        seen.append(_lines(folder / state))
    _finish(context.Process(target=command, args=(folder,)))
    return seen


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _finish(process: BaseProcess) -> None:
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the command ended with {process.exitcode}")
