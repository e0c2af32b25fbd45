"""bandit init, suggest, report, add, status."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from simmerge_hub.cli import show
from simmerge_hub.errors import BanditError, PredictorError

if TYPE_CHECKING:
    from simmerge_hub.selector.tables.rows import Rows

WAITING = 10
"""Suggestions without a report that are listed."""


def init(
    *,
    reference: str,
    outcomes: list[str],
    features: list[str],
    private: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """`simmerge-hub bandit init`; `settings` that are None keep their defaults."""
    from simmerge_hub.hub.upload import ledger
    from simmerge_hub.selector.bandit import sharing
    from simmerge_hub.selector.bandit.bandit import Settings, start
    from simmerge_hub.selector.tables.rows import stack

    if len(outcomes) != len(features):
        raise BanditError(
            f"{len(outcomes)} of OUTCOMES and {len(features)} of --features",
            hint="give a table of features for each, in the same order",
        )
    chosen = Settings(**{k: v for k, v in settings.items() if v is not None})
    ledger.demand_free(reference)
    with show.status("learning from outcomes"):
        rows = stack([_table(o, f) for o, f in zip(outcomes, features, strict=True)])
        where = sharing.init(reference, start(rows, chosen), private=private)
    if as_json:
        show.data({"state": where, "rows": len(rows), "arms": [a.label for a in rows.arms]})
        return
    show.note(f"a bandit of {len(rows.arms)} arms that knows {len(rows)} outcomes, in {where}")
    show.note(f"next: simmerge-hub plan MODEL MODEL --bandit {reference}")


def _table(outcomes: str, features: str) -> "Rows":
    from simmerge_hub.operators import BALANCED
    from simmerge_hub.selector.tables.features import load_features
    from simmerge_hub.selector.tables.outcomes import load_outcomes
    from simmerge_hub.selector.tables.rows import join

    measured, known = load_outcomes(Path(outcomes)), load_features(Path(features))
    try:
        return join(measured, known, BALANCED)
    except PredictorError as error:
        raise BanditError(f"{outcomes} with {features}: {error}", hint=error.hint) from error


def suggest(*, reference: str, features: str, as_json: bool) -> None:
    """`simmerge-hub bandit suggest`."""
    from simmerge_hub.selector.bandit import sharing
    from simmerge_hub.selector.tables.features import load_features

    table = load_features(Path(features))
    if not table.rows:
        raise BanditError(f"{features} holds no pair", hint="write one: simmerge-hub zoo features")
    asked = [
        sharing.Asked(
            task=task,
            expert=expert,
            auxiliary=auxiliary,
            names=table.names,
            schema=table.schema,
            values=table.rows[expert, auxiliary, task],
            effect_names=table.effect_names,
            effects=table.effects.get((expert, auxiliary, task), {}),
        )
        for expert, auxiliary, task in sorted(table.rows)
    ]
    with show.status("asking the bandit"):
        made = sharing.suggest(reference, asked)
    if as_json:
        show.data(
            [
                {
                    "id": s.id, "arm": s.arm, "task": s.task, "expert": s.expert,
                    "auxiliary": s.auxiliary, "expected": s.expected, "chance": dict(s.chance),
                }
                for s in made
            ]
        )  # fmt: skip
        return
    page = Table()
    for heading in ("id", "task", "expert + auxiliary", "try", "chance", "expected"):
        page.add_column(heading, no_wrap=heading in ("id", "try"), overflow="fold")
    for s in made:
        cells = (s.id, s.task, f"{s.expert} + {s.auxiliary}", s.arm)
        page.add_row(*map(escape, cells), f"{s.chance[s.arm]:.0%}", f"{s.expected:.2f}")
    show.OUT.print(page)
    show.note(f"next: simmerge-hub bandit report {reference} {made[0].id}=GAIN")


def report(
    *,
    reference: str,
    gains: list[tuple[str, float]],
    file: str | None,
    retrain: bool,
    as_json: bool,
) -> None:
    """`simmerge-hub bandit report`."""
    from simmerge_hub.selector.bandit import sharing

    told = [*gains, *(_lines(file) if file else ())]
    if not told and not retrain:
        raise BanditError(
            "nothing to report", hint=f"simmerge-hub bandit report {reference} s000001=0.81"
        )
    if retrain:
        sharing.look(reference)  # what cannot be read is refused before anything is reported
    if told:
        with show.status("reporting"):
            sharing.report(reference, told)
    reports, dropped = 0, False
    if retrain:
        with show.status("training"):
            reports, dropped = sharing.retrain(reference)
    if as_json:
        names = [name for name, _ in told]
        show.data({"reported": names, "retrained": reports > 0, "outcomes_left_out": dropped})
        return
    noun = "report" if reports == 1 else "reports"
    what = f"; retrained on {reports} {noun}" if reports else "; nothing to retrain on yet"
    show.note(f"{len(told)} reported to {reference}{what if retrain else ''}")
    if dropped:
        show.note(
            "the mean of earlier gains told gains better than forecasts did: the offline outcomes "
            "are left out from now on"
        )


def add(*, reference: str, operator: str, given: list[tuple[str, Any]], as_json: bool) -> None:
    """`simmerge-hub bandit add`."""
    from simmerge_hub.operators import arm
    from simmerge_hub.selector.bandit import sharing

    if "(" in operator:
        name, _, inside = operator.partition("(")
        sets = " ".join(f"--set {each.strip()}" for each in inside.rstrip(")").split(",") if each)
        raise BanditError(
            f"{operator!r} is an arm, and an operator is asked for; nothing was added",
            hint=f"simmerge-hub bandit add {reference} {name} {sets}".rstrip(),
        )
    parameters = dict(given)
    if len(parameters) < len(given):
        names = [name for name, _ in given]
        twice = next(name for name in names if names.count(name) > 1)
        raise BanditError(f"{twice} is set twice; nothing was added", hint="set it once")
    new = arm(operator, **parameters)
    with show.status("adding"):
        sharing.add(reference, new)
    if as_json:
        show.data({"state": reference, "added": new.label})
        return
    show.note(f"{new.label} added to {reference}")
    show.note(f"next: simmerge-hub plan MODEL MODEL --bandit {reference}")


def status(*, reference: str, as_json: bool) -> None:
    """`simmerge-hub bandit status`."""
    from simmerge_hub.selector.bandit import sharing

    found = sharing.look(reference)
    history = found.history
    original = found.bandit.labels
    rows = {
        arm.label: {"suggested": 0, "reported": 0, "gains": [], "added": arm.label not in original}
        for arm in found.bandit.all_arms(history)
    }
    for suggestion in history.suggestions.values():
        rows[suggestion.arm]["suggested"] += 1
    for suggestion, gain in history.learned:
        rows[suggestion.arm]["gains"].append(gain)
    for row in rows.values():
        known = row.pop("gains")
        row["reported"] = len(known)
        row["mean"] = round(sum(known) / len(known), 4) if known else None
    waiting = [s.id for s in history.pending]
    asked = {
        s.id: {"arm": s.arm, "task": s.task, "expert": s.expert, "auxiliary": s.auxiliary}
        for s in history.pending
    }
    if as_json:
        show.data({"state": found.where, "arms": rows, "waiting": waiting, "asked": asked})
        return
    page = Table(title=escape(found.where))
    for heading in ("arm", "suggested", "reported", "mean gain"):
        page.add_column(heading, justify="left" if heading == "arm" else "right")
    for label, row in rows.items():
        mean = "" if row["mean"] is None else f"{row['mean']:.2f}"
        mark = ", added" if row["added"] else ""
        page.add_row(escape(label + mark), str(row["suggested"]), str(row["reported"]), mean)
    show.OUT.print(page)
    if waiting:
        more = f" and {len(waiting) - WAITING} more" if len(waiting) > WAITING else ""
        show.note(f"wait for a report: {', '.join(waiting[:WAITING])}{more}")
        for s in history.pending[:WAITING]:
            show.note(f"{s.id}: {s.arm} of {s.expert} + {s.auxiliary}, on {s.task}")


def _lines(file: str) -> list[tuple[str, float]]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BanditError(f"{file} cannot be read: {error}", hint="lines of ID=GAIN") from error
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, _, gain = line.strip().partition("=")
        try:
            found.append((name, float(gain)))
        except ValueError as error:
            raise BanditError(
                f"{file}, line {number}: {line.strip()[:40]!r} is not ID=GAIN",
                hint="write s000001=0.81",
            ) from error
    return found
