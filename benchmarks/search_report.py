"""What `search.py` measured -> search.json, and the curves as pictures on a page.

    python benchmarks/search_report.py

What was measured of nano models and of a real base are reported each by itself; of what was not
measured here, search.json and the picture stay as they are.

Of each pair, the seeds count that every method has finished. Curves are the best score so far, the
mean share of the better model's score over both tasks, divided by the best that any method measured
on the pair; the mean over seeds, then over pairs. "Reaches" is the first number of evaluations at
which the mean of ours is at least what CMA-ES, the better of its two ways, has after 100.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from search import NANO, REAL, WORK, World, read_runs
from search_methods import BUDGET, OURS, grid_points
from search_trial import FEW, PROMPTS, snap

from simmerge_hub.learning.searching.space import arm_from

mpl.use("Agg")
HERE = Path(__file__).parent
PAGES = HERE.parent / "docs" / "explanation"
AT = (5, 10, 15, 20, 30, 40, 60, 100)
CMA = ("CMA-ES", "CMA-ES on TIES")
GOAL = 20
COLOURS = {
    "ours": "#c4500c", "ours, nothing predicted": "#e0a070", "CMA-ES": "#1f5fa8",
    "CMA-ES on TIES": "#8fb3dd", "random": "#8a8f98",
}  # fmt: skip
PARTS = {NANO: ("", "search-curves", 0.6), REAL: ("real", "search-curves-real", 0.4)}
"""Where in search.json they are reported, the picture, and where its axis of shares begins."""
STEPS = np.arange(1, BUDGET + 1)

Curve = Sequence[Sequence[Any]]
Shares = dict[str, dict[str, float]]
"""Arm -> part of the prompts -> mean share kept."""


def main() -> None:
    """The JSON and the pictures."""
    path = HERE / "search.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    for world, (key, picture, lowest) in PARTS.items():
        if not (WORK / world.runs).exists():
            continue
        part, curves = report(world)
        result |= {key: part} if key else part
        draw(curves, PAGES / f"{picture}.svg", lowest)
    path.write_text(json.dumps(result, indent=1) + "\n")


def report(world: World) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is stated of the pairs of one kind of models, and the curve of each method."""
    by_pair: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for run in read_runs(world).values():
        first, second, method, seed = run["key"]
        by_pair.setdefault((first, second), {}).setdefault(seed, {})[method] = run
    pairs = {p: s for p, seeds in by_pair.items() if (s := _whole(seeds))}
    lattice = {arm_from(snap(p, world.shares), 2).label for p in grid_points(world.shares)}
    known = {pair: read_shares(pair, lattice) for pair in pairs}
    best = {pair: best_measured(shares) for pair, shares in known.items()}
    curves = {
        method: np.mean(
            [
                np.mean([along(r[method]["steps"]) for r in seeds.values()], axis=0) / best[pair]
                for pair, seeds in pairs.items()
            ],
            axis=0,
        )
        for method in COLOURS
    }
    part = {
        "prompts": PROMPTS,
        "other prompts": world.others,
        "lattice": len(lattice),
        "pairs": [
            {"models": list(pair), "seeds": len(seeds), "best measured": round(best[pair], 4)}
            | {method: summarise(seeds, method, known[pair]) for method in COLOURS}
            for pair, seeds in pairs.items()
        ],
        "curves": {m: {str(n): _number(c[n - 1]) for n in AT} for m, c in curves.items()},
        "reaches": {
            method: reaches(curves[method], max(float(curves[c][-1]) for c in CMA))
            for method in COLOURS
        },
        "goal": GOAL,
    }
    return part, curves


def _whole(seeds: Mapping[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {seed: runs for seed, runs in seeds.items() if runs.keys() >= COLOURS.keys()}


def read_shares(pair: tuple[str, str], lattice: Collection[str]) -> Shares:
    """What was measured of a pair at points of the lattice, whoever asked."""
    shares: Shares = {}
    for line in (WORK / f"{'+'.join(pair)}.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["arm"] in lattice:
            shares.setdefault(entry["arm"], {})[entry["part"]] = float(np.mean(entry["shares"]))
    return shares


def best_measured(shares: Shares) -> float:
    """The best of all points."""
    whole = [each for each in shares.values() if "rest" in each]
    return max((s["few"] * FEW + s["rest"] * (PROMPTS - FEW)) / PROMPTS for s in whole)


def along(steps: Curve) -> np.ndarray:
    """[BUDGET]: the best score after so many evaluations; 0 before the first ends."""
    spent = np.array([step[0] for step in steps])
    places = np.searchsorted(spent, STEPS, side="right") - 1
    scores = np.array([step[1] for step in steps])
    return np.where(places >= 0, scores[places], 0.0)


def summarise(seeds: Mapping[int, dict[str, Any]], method: str, shares: Shares) -> dict[str, Any]:
    """The mean over seeds after some numbers of evaluations, and on prompts that nobody asked; None
    where these were not asked of all that seeds ended with."""
    curves = np.array([along(runs[method]["steps"]) for runs in seeds.values()])
    ends = [arm_from(runs[method]["steps"][-1][2], 2).label for runs in seeds.values()]
    others = [shares[label].get("others", np.nan) for label in ends]
    return {
        "after": {str(n): _number(curves[:, n - 1].mean()) for n in AT},
        "spread": _number(curves[:, -1].std()),
        "other prompts": None if np.isnan(others).any() else _number(float(np.mean(others))),
        "ends with": [runs[method]["steps"][-1][2]["operator"] for runs in seeds.values()],
    }


def reaches(curve: np.ndarray, wanted: float) -> int | None:
    """The first number of evaluations at which a curve is there; None: never."""
    there = np.flatnonzero(curve >= wanted - 1e-9)
    return int(there[0]) + 1 if len(there) else None


def _number(value: float) -> float:
    return round(float(value), 4)


def draw(curves: Mapping[str, np.ndarray], picture: Path, lowest: float) -> None:
    """One line a method; ours ends where its budget does."""
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    for method, colour in COLOURS.items():
        end = OURS if method.startswith("ours") else BUDGET
        shown = (curves[method] > 0) & (end >= STEPS)
        ax.step(STEPS[shown], curves[method][shown], where="post", color=colour, label=method)
    ax.axvline(GOAL, color="black", lw=0.6, ls=":")
    ax.set_xlabel("evaluations of a merge on all prompts")
    ax.set_ylabel("share of the best that was measured")
    ax.set_ylim(lowest, 1.01)
    ax.legend(frameon=False, fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    mpl.rcParams["svg.hashsalt"] = "simmerge-hub"
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
