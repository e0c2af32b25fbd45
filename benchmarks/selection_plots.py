"""Draws benchmarks/selection.json into docs/explanation/: strategies, and the learning curve.

python benchmarks/selection_plots.py
"""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

mpl.use("Agg")
HERE = Path(__file__).parent
PAGES = HERE.parent / "docs" / "explanation"
BARS = (
    "random", "best fixed", "label only", "norm rule", "nearest", "ridge", "random forest",
    "xgboost, shuffled features", "xgboost", "oracle by halves",
)  # fmt: skip
TITLES = {"all": "all that a plan chooses from", "balanced": "weights alone, equal"}
CURVES = {"all": "all that a plan chooses from", "weights": "arms on weights alone"}
OURS, OTHERS = "#c4500c", "#8a8f98"


def main() -> None:
    """Both figures."""
    found = json.loads((HERE / "selection.json").read_text())
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for ax, (name, title) in zip(axes, TITLES.items(), strict=True):
        strategies(ax, found["main"]["pairs"][name]["strategies"])
        ax.set_title(title)
    axes[0].set_xlabel("gap closed on both tasks, models never seen (95 % over models)")
    save(figure, "selection-strategies")
    figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    curve(ax, found["learning curve"])
    save(figure, "selection-curve")


def strategies(ax: Axes, found: dict[str, Any]) -> None:
    """One bar a strategy, with its interval."""
    for place, name in enumerate(BARS):
        spread = found[name]
        color = OURS if name == "xgboost" else OTHERS
        ax.barh(place, spread["mean"], color=color, alpha=1 if name == "xgboost" else 0.6)
        ax.plot([spread["low"], spread["high"]], [place, place], color="black", lw=1)
        ax.text(spread["high"] + 0.005, place, f"{spread['mean']:.3f}", va="center", fontsize=8)
    ax.set_yticks(range(len(BARS)), BARS)
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)


def curve(ax: Axes, found: list[dict[str, Any]]) -> None:
    """Gap closed over the best fixed arm on both tasks, by the number of training rows."""
    rows = [each["rows"] for each in found]
    for (name, title), color in zip(CURVES.items(), (OURS, "#1f5fa8"), strict=True):
        over = [each[name]["both"]["over best fixed"] for each in found]
        ax.plot(rows, [o["mean"] for o in over], marker="o", color=color, label=title)
        low, high = [o["low"] for o in over], [o["high"] for o in over]
        ax.fill_between(rows, low, high, color=color, alpha=0.15, lw=0)
    ax.axhline(0, color="black", lw=0.8)
    ax.set_xscale("log")
    ax.set_xlabel("training rows (mean over splits)")
    ax.set_ylabel("gap closed over best fixed")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)


def save(figure: Any, name: str) -> None:
    """As SVG without a date, so that the same numbers give the same bytes."""
    mpl.rcParams["svg.hashsalt"] = name
    figure.savefig(PAGES / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
