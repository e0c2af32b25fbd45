"""Tables of the page on many models, from benchmarks/multiway.json."""

from collections.abc import Mapping
from typing import Any

from measured import read, table

SIZES = {"3": "three", "4": "four"}


def multiway_strategies() -> str:
    """Every strategy at both sizes, with the plan's lead over it."""
    found, parts = read("multiway"), []
    for size, word in SIZES.items():
        one = found[size]
        ordered = sorted(one["strategies"].items(), key=lambda item: -item[1]["mean"])
        rows = [
            (
                f"**{name}**" if name == "plan" else name,
                _spread(value),
                _spread(one["lead"][name]) if name in one["lead"] else "",
            )
            for name, value in ordered
        ]
        held = ", ".join(f"{count} of {base}" for base, count in one["bases"].items())
        parts.append(
            f"{one['sets']} sets of {word} ({held}; {one['wanted']} were drawn):\n\n"
            + table(("strategy", "utility (95 %)", "the plan's lead (95 %)"), rows)
        )
    return "\n\n".join(parts)


def multiway_summary() -> str:
    """Headroom, forecast, orders and cost at both sizes."""
    found = read("multiway")
    rows = []
    for size, word in SIZES.items():
        one = found[size]
        forecast, cost, got = one["forecast"], one["cost"], one["captured"]
        rows += [
            (f"{word}: headroom captured over {got['control']}", _spread(got), "≥ 0.60"),
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
    return table(("what", "measured", "goal"), rows)


def multiway_ways() -> str:
    """What signatures of intermediates and their behaviour buy."""
    found = read("multiway")
    rows = [
        (SIZES[size], way, one["sets"], _spread(one["merged"]), _spread(one[way]),
         _spread(one["lead"]))
        for size in SIZES
        for way, one in found[size]["ways"].items()
    ]  # fmt: skip
    heads = ("models", "intermediates", "sets", "as planned", "this way", "lead as planned")
    return table(heads, rows)


def _spread(found: Mapping[str, Any]) -> str:
    return f"{found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
