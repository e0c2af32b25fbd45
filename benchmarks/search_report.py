"""What `search.py` measured -> search.json, and the curves as a picture on a page.

    python benchmarks/search_report.py

Of each pair, the seeds count that every method has finished. Curves are the best score so far, the
mean share of the better model's score over both tasks, divided by the best that any method measured
on the pair; the mean over seeds, then over pairs. "Reaches" is the first number of evaluations at
which the mean of ours is at least what CMA-ES, the better of its two ways, has after 100.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

mpl.use("Agg")
HERE = Path(__file__).parent
RUNS = HERE.parent / "build" / "search"
PICTURE = HERE.parent / "docs" / "explanation" / "search-curves.svg"
BUDGET, OURS = 100, 40
AT = (5, 10, 15, 20, 30, 40, 60, 100)
CMA = ("CMA-ES", "CMA-ES on TIES")
GOAL = 20
COLOURS = {
    "ours": "#c4500c", "ours, nothing predicted": "#e0a070", "CMA-ES": "#1f5fa8",
    "CMA-ES on TIES": "#8fb3dd", "random": "#8a8f98",
}  # fmt: skip
STEPS = np.arange(1, BUDGET + 1)

Curve = Sequence[Sequence[Any]]


def main() -> None:
    """The JSON and the picture."""
    runs = [json.loads(line) for line in (RUNS / "runs.jsonl").read_text().splitlines()]
    by_pair: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for run in runs:
        first, second, method, seed = run["key"]
        by_pair.setdefault((first, second), {}).setdefault(seed, {})[method] = run
    pairs = {p: s for p, seeds in by_pair.items() if (s := _whole(seeds))}
    best = {pair: best_measured(pair) for pair in pairs}
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
    result = {
        "prompts": 64,
        "pairs": [
            {"models": list(pair), "seeds": len(seeds), "best measured": round(best[pair], 4)}
            | {method: summarise(seeds, method) for method in COLOURS}
            for pair, seeds in pairs.items()
        ],
        "curves": {m: {str(n): _number(c[n - 1]) for n in AT} for m, c in curves.items()},
        "reaches": {
            method: reaches(curves[method], max(float(curves[c][-1]) for c in CMA))
            for method in COLOURS
        },
        "goal": GOAL,
    }
    (HERE / "search.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(curves)


def _whole(seeds: Mapping[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {seed: runs for seed, runs in seeds.items() if runs.keys() >= COLOURS.keys()}


def best_measured(pair: tuple[str, str]) -> float:
    """The best of all points that were measured on a pair, whoever asked."""
    shares: dict[str, dict[str, float]] = {}
    for line in (RUNS / f"{'+'.join(pair)}.jsonl").read_text().splitlines():
        entry = json.loads(line)
        shares.setdefault(entry["arm"], {})[entry["part"]] = float(np.mean(entry["shares"]))
    return max((s["few"] * 16 + s["rest"] * 48) / 64 for s in shares.values() if "rest" in s)


def along(steps: Curve) -> np.ndarray:
    """[BUDGET]: the best score after so many evaluations; 0 before the first ends."""
    spent = np.array([step[0] for step in steps])
    places = np.searchsorted(spent, STEPS, side="right") - 1
    scores = np.array([step[1] for step in steps])
    return np.where(places >= 0, scores[places], 0.0)


def summarise(seeds: Mapping[int, dict[str, Any]], method: str) -> dict[str, Any]:
    """The mean over seeds after some numbers of evaluations, and on prompts that nobody asked."""
    curves = np.array([along(runs[method]["steps"]) for runs in seeds.values()])
    others = [runs[method]["others"] for runs in seeds.values()]
    return {
        "after": {str(n): _number(curves[:, n - 1].mean()) for n in AT},
        "spread": _number(curves[:, -1].std()),
        "other prompts": round(float(np.mean(others)), 4),
        "ends with": [runs[method]["steps"][-1][2]["operator"] for runs in seeds.values()],
    }


def reaches(curve: np.ndarray, wanted: float) -> int | None:
    """The first number of evaluations at which a curve is there; None: never."""
    there = np.flatnonzero(curve >= wanted - 1e-9)
    return int(there[0]) + 1 if len(there) else None


def _number(value: float) -> float:
    return round(float(value), 4)


def draw(curves: Mapping[str, np.ndarray]) -> None:
    """One line a method; ours ends where its budget does."""
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    for method, colour in COLOURS.items():
        end = OURS if method.startswith("ours") else BUDGET
        shown = (curves[method] > 0) & (end >= STEPS)
        ax.step(STEPS[shown], curves[method][shown], where="post", color=colour, label=method)
    ax.axvline(GOAL, color="black", lw=0.6, ls=":")
    ax.set_xlabel("evaluations of a merge on all prompts")
    ax.set_ylabel("share of the best that was measured")
    ax.set_ylim(0.6, 1.01)
    ax.legend(frameon=False, fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    mpl.rcParams["svg.hashsalt"] = "simmerge-hub"
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
