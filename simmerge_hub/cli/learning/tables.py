"""Tables of what was learned: outcomes, predictors on held-out models, arms of a bandit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import show
from simmerge_hub.units import spell_interval

if TYPE_CHECKING:
    from simmerge_hub.selector.bandit.history import Suggestion


def gates(report: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Whether a table of outcomes leaves a selector anything to win, in every regime."""
    title = "Is there anything to select? (share of the gap closed)"
    table = show.make_table("regime", "arms", "best fixed arm", title=title)
    numbers = ("rows", "base_closes", "tie_share", "fixed", "oracle", "split_half", "headroom")
    for column in numbers:
        table.add_column(column.replace("_", " "), justify="right")
    for regime, sets in report.items():
        for name, gate in sets.items():
            cells = [f"{v:.3f}" if isinstance(v := gate[n], float) else str(v) for n in numbers]
            table.add_row(show.escape(regime), name, show.escape(gate["best_fixed"]), *cells)
    show.OUT.print(table)


def report(measured: Mapping[str, Any]) -> None:
    """How a predictor does on held-out models, beside everything simpler."""
    from simmerge_hub.selector.predictor.wording import OWN_WEIGHT

    for name, result in measured["sets"].items():
        _strategies(f"Gap closed on held-out models, the expert's task, arms: {name}", result)
    for name, result in measured["pairs"].items():
        _strategies(f"Gap closed on held-out models, both tasks of a pair, arms: {name}", result)
    if OWN_WEIGHT in measured:
        show.OUT.print(
            f"{OWN_WEIGHT} {measured[OWN_WEIGHT]:g} times one of others", highlight=False
        )


def _strategies(title: str, result: Mapping[str, Any]) -> None:
    table = show.make_table("strategy", title=title)
    table.add_column("mean (95 %)", justify="right")
    for strategy, mean in sorted(result["strategies"].items(), key=lambda item: item[1]["mean"]):
        style = "bold" if strategy == "xgboost" else ""
        table.add_row(show.escape(strategy), _mean(mean), style=style)
    show.OUT.print(table)
    if result["headroom captured"]:
        show.OUT.print(f"headroom captured: {_mean(result['headroom captured'])}", highlight=False)
    show.OUT.print(f"over best fixed: {_mean(result['over best fixed'])}", highlight=False)


def suggestions(suggestions: "Sequence[Suggestion]") -> None:
    """What to try for each pair, with its chance and what is expected of it; a line each where a
    table would break names."""
    table = show.make_table()
    for heading in ("id", "task", "expert + auxiliary", "try", "chance", "expected"):
        table.add_column(heading, no_wrap=heading in ("id", "try"), overflow="fold")
    for s in suggestions:
        cells = (s.id, s.task, f"{s.expert} + {s.auxiliary}", s.arm)
        table.add_row(*map(show.escape, cells), f"{s.chance[s.arm]:.0%}", f"{s.expected:.2f}")
    if show.fits(table):
        show.OUT.print(table)
        return
    for s in suggestions:
        show.line(
            f"{s.id}: {s.arm} of {s.expert} + {s.auxiliary}, on {s.task} "
            f"(chance {s.chance[s.arm]:.0%}, expected {s.expected:.2f})"
        )


def arms(where: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """The arms of a bandit and what was learned of each."""
    table = show.make_table("arm", title=where)
    for heading in ("suggested", "reported", "mean gain"):
        table.add_column(heading, justify="right")
    for label, row in rows.items():
        mean = "" if row["mean"] is None else f"{row['mean']:.2f}"
        name = show.escape(f"{label}, added" if row["added"] else label)
        table.add_row(name, str(row["suggested"]), str(row["reported"]), mean)
    show.OUT.print(table)


def _mean(estimate: Mapping[str, float]) -> str:
    """A mean with its interval."""
    return spell_interval((estimate["mean"], estimate["low"], estimate["high"]))
