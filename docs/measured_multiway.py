"""Tables of the pages on many models, from benchmarks/multiway.json and catalogue.json."""

from collections.abc import Mapping
from typing import Any

from measured import read, table

SIZES = {"3": "three", "4": "four"}
ZOOS = {"zoo-v2": "nano", "zoo-real": "Gemma 3 270M"}


def multiway_strategies() -> str:
    """Every strategy at both sizes, with the leads of both plans over it."""
    found, parts = read("multiway"), []
    for size, word in ((size, word) for size, word in SIZES.items() if size in found):
        one = found[size]
        plans = list(one["lead"])
        ordered = sorted(one["strategies"].items(), key=lambda item: -item[1]["mean"])
        rows = [
            (
                f"**{name}**" if name in plans else name,
                f"{value['mean']:.3f}",
                *(_spread(one["lead"][p][name]) if name in one["lead"][p] else "" for p in plans),
            )
            for name, value in ordered
        ]
        held = ", ".join(f"{count} of {base}" for base, count in one["bases"].items())
        heads = ("strategy", "utility", *(f"lead of the {p} (95 %)" for p in plans))
        parts.append(f"{one['sets']} sets of {word} ({held}):\n\n" + table(heads, rows))
    return "\n\n".join(parts)


def at_once() -> str:
    """Merges in one step, with what sees activations and without."""
    rows = []
    for zoo, found in read("multiway")["at once"].items():
        for size, arms in found["arms"].items():
            ordered = sorted(arms.items(), key=lambda item: -item[1]["kept"])
            rows += [
                (
                    ZOOS[zoo], SIZES[size], found["sets"][size], f"`{label}`",
                    f"{each['kept']:.3f}", f"{each['worst']:.3f}", f"{each['gain']:.3f}",
                )
                for label, each in ordered
            ]  # fmt: skip
    heads = (
        "zoo", "models", "sets", "in one step", "utility", "on a set's worst task", "gap closed",
    )  # fmt: skip
    return table(heads, rows)


def multiway_own() -> str:
    """Another merge for each task: by a plan, and with the task's expert last."""
    found = read("multiway")
    columns = ("plan", "plan without RegMean", "lead", "expert_last")
    rows = [
        (word, found[size]["own"]["sets"], *(_spread(found[size]["own"][name]) for name in columns))
        for size, word in SIZES.items()
        if found.get(size, {}).get("own", {}).get("sets")
    ]
    heads = (
        "models", "sets", "a plan for each task (95 %)", "one without RegMean (95 %)",
        "lead of that (95 %)", "chain of linear, its expert last (95 %)",
    )  # fmt: skip
    return table(heads, rows)


def multiway_summary() -> str:
    """Headroom, forecast, orders and cost at both sizes."""
    found = read("multiway")
    rows = []
    for size, word in ((size, word) for size, word in SIZES.items() if size in found):
        one = found[size]
        forecast, cost = one["forecast"], one["cost"]
        taken = ", ".join(f"`{arm}` {count}" for arm, count in one["taken"].items() if count)
        rows += [
            *(
                (f"{word}: headroom that the {plan} finds", _spread(got), "≥ 0.60")
                for plan, got in one["captured"].items()
            ),
            (f"{word}: sets of which the plan takes RegMean", taken or "none", ""),
            (f"{word}: correlation of predicted and measured, tasks", forecast["correlation"], ""),
            (f"{word}: correlation of plans inside a set", forecast["inside"], ""),
            (f"{word}: measured inside the 90 % interval", forecast["coverage"], "0.90"),
            *(
                (f"{word}: best minus worst order, {label}", _spread(value), "")
                for label, value in one["orders"].items()
            ),
            (f"{word}: plans scored in a second of one core", cost["scored_per_second"], ""),
            (f"{word}: seconds to plan a set", cost["seconds_a_set"], ""),
            (f"{word}: planning over merging and evaluating the same plans", cost["ratio"], ""),
        ]
    return table(("what", "measured (95 %)", "goal"), rows)


def multiway_again() -> str:
    """The oracle, the plans and the strongest controls on prompts that chose nothing."""
    found, parts = read("multiway")["again"], []
    for size in (size for size in SIZES if found.get(size, {}).get("sets")):
        one = found[size]
        ordered = sorted(one["means"].items(), key=lambda item: -item[1]["mean"])
        rows = [(name, _spread(value)) for name, value in ordered]
        head = (
            f"{one['sets']} sets of {SIZES[size]}, {found['prompts']} other prompts of each task:"
        )
        heads = ("strategy", "utility (95 %)")
        parts.append(f"{head}\n\n{table(heads, rows)}")
    return "\n\n".join(parts)


def multiway_held_out() -> str:
    """What the predictor of a fold learned from, and what a plan expects of RegMean there."""
    report = read("multiway")
    arms = list(next(iter(report["3"]["expected"].values())))
    rows = [
        (
            int(fold) + 1, learned["pairs"], learned["sets_of_many"],
            f"{learned['merges_of_many']:,}",
            *(
                f"{report[size]['expected'][fold][arm]:.3f}" if size in report else ""
                for size in SIZES
                for arm in arms
            ),
        )
        for fold, learned in report["learned"].items()
    ]  # fmt: skip
    heads = ("fold", "pairs", "sets of three and four", "their merges, by task")
    expected = (f"{word}: `{arm}`" for word in SIZES.values() for arm in arms)
    return table((*heads, *expected), rows)


def multiway_harm() -> str:
    """How often a planted harmful model is left out; of the zoo's second build."""
    report = read("multiway")["second build"]["harm"]
    rows = [
        (
            "any" if not one["harm"] else f"≥ {one['harm']}", one["kind"],
            f"{one['left_out']} of {one['cases']} ({one['left_out'] / one['cases']:.0%})",
            f"{one['all_others_kept']} of {one['cases']}",
            f"{one['reached']:.3f}", f"{one['oracle_without']:.3f}", f"{one['oracle_with']:.3f}",
        )
        for one in report["plan"]
    ]  # fmt: skip
    heads = (
        "harm", "harmful model", "left out (goal ≥ 90 %)", "all others are kept",
        "the plan reaches", "best of the three", "best of 40 with all four",
    )  # fmt: skip
    planted = ", ".join(f"{count} {kind}" for kind, count in report["planted"].items())
    return f"Planted: {planted}.\n\n" + table(heads, rows)


def catalogue_cost() -> str:
    """Seconds to choose from a catalogue, from benchmarks/catalogue.json."""
    parts = ("reading", "signing", "predicting")
    rows = [
        (
            run["run"],
            *(f"{run['seconds'][part]:.1f}" for part in parts),
            f"{run['merges_predicted']:,}",
            f"{run['seconds']['all']:.1f}",
        )
        for run in read("catalogue")["runs"]
    ]
    return table(("run", *(f"{part}, s" for part in parts), "merges predicted", "all, s"), rows)


def _spread(found: Mapping[str, Any]) -> str:
    return f"{found['mean']:.3f} ({found['group_low']:.3f} to {found['group_high']:.3f})"
