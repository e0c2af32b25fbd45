"""bandit.json -> docs/explanation/bandit.png: cumulative regret, median and 90 % band."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = Path(__file__).parent


def main() -> None:
    found = json.loads((HERE / "bandit.json").read_text("utf-8"))
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    policies = found["policies"]
    ten = pyplot.rcParams["axes.prop_cycle"].by_key()["color"]
    axes.set_prop_cycle(color=[*ten, "black"])  # none twice
    for name in sorted(policies, key=lambda n: -policies[n]["regret"]["median"]):
        curve = policies[name]["curve"]
        rounds = [10 * (i + 1) for i in range(len(curve["median"]))]
        (line,) = axes.plot(rounds, curve["median"], label=name, lw=2.5 if name == "bandit" else 1)
        axes.fill_between(rounds, curve["low"], curve["high"], alpha=0.12, color=line.get_color())
    axes.set(xlabel="round", ylabel="cumulative regret (gap closed)")
    axes.legend(fontsize=7)
    figure.savefig(HERE.parent / "docs" / "explanation" / "bandit.png", dpi=110)


if __name__ == "__main__":
    main()
