"""bandit init, suggest, report, add, status."""

import argparse
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import arguments, show
from simmerge_hub.cli.learning import tables
from simmerge_hub.documents import explain
from simmerge_hub.errors import BanditError, PredictorError, RequestError
from simmerge_hub.names import list_first
from simmerge_hub.units import spell_count

if TYPE_CHECKING:
    from simmerge_hub.selector.bandit.history import Suggestion
    from simmerge_hub.selector.bandit.sharing import Asked, State
    from simmerge_hub.selector.tables.features import FeatureTable
    from simmerge_hub.selector.tables.rows import Rows

STATE = "org/name or a folder"
WAITING_SHOWN = 10
"""Suggestions without a report that are listed."""


def options(commands: Any) -> None:
    """Add the commands of `simmerge-hub bandit`."""
    verbs = arguments.group(commands, "bandit", "learn which operator to use from merges you score")
    for add_options in (_init, _suggest, _report, _add, _status):
        arguments.json(add_options(verbs))


def _init(verbs: Any) -> argparse.ArgumentParser:
    command = arguments.command(verbs, "init", init, "start a bandit from measured outcomes")
    command.add_argument("reference", metavar="STATE", help="org/name or a folder, to be made")
    command.add_argument(
        "outcomes", nargs="+", metavar="OUTCOMES",
        help="what zoo measure wrote; all of them before --features",
    )  # fmt: skip
    command.add_argument(
        "--features", required=True, action="append", metavar="FILE",
        help="what zoo features wrote (repeat: one for each of OUTCOMES, in their order)",
    )  # fmt: skip
    command.add_argument(
        "--explore", type=float, metavar="X",
        help="1: Thompson sampling, 0: no exploration; default: 0.05",
    )  # fmt: skip
    command.add_argument(
        "--trust", type=float, metavar="SHARE",
        help="in the offline forecast, above 0, at most 1; default: 1",
    )  # fmt: skip
    command.add_argument(
        "--keep", type=float, metavar="SHARE",
        help="below 1: old reports fade, by this per report; default: 1",
    )  # fmt: skip
    command.add_argument("--seed", type=int, metavar="N", help="of every draw; default: 0")
    command.add_argument("--private", action="store_true", help="if it is a repository")
    return command


def _suggest(verbs: Any) -> argparse.ArgumentParser:
    command = arguments.command(
        verbs, "suggest", suggest, "suggest an operator for each pair of a table"
    )
    command.add_argument("reference", metavar="STATE", help=STATE)
    command.add_argument(
        "--features", required=True, metavar="FILE", help="pairs and tasks: a table of features"
    )
    return command


def _report(verbs: Any) -> argparse.ArgumentParser:
    command = arguments.command(
        verbs, "report", report, "report what suggested merges gained, in one commit"
    )
    command.add_argument("reference", metavar="STATE", help=STATE)
    command.add_argument(
        "gains", nargs="*", type=arguments.amount, metavar="ID=GAIN",
        help="share of the gap between auxiliary and expert that the merge closed, -1 to 1.5",
    )  # fmt: skip
    command.add_argument("--from", dest="file", metavar="FILE", help="lines of ID=GAIN; -: stdin")
    command.add_argument(
        "--retrain", action="store_true", help="then train it again, on all that was reported"
    )
    return command


def _add(verbs: Any) -> argparse.ArgumentParser:
    command = arguments.command(verbs, "add", add, "add an arm: an operator with its parameters")
    command.add_argument("reference", metavar="STATE", help=STATE)
    command.add_argument("operator", metavar="OPERATOR", help="simmerge-hub operators lists them")
    command.add_argument(
        "--set", action=arguments.Once, type=arguments.parameter, default=[], dest="given",
        metavar="NAME=VALUE",
        help="a parameter, as labels of arms show it: density=0.3 (repeat)",
    )  # fmt: skip
    return command


def _status(verbs: Any) -> argparse.ArgumentParser:
    command = arguments.command(verbs, "status", status, "what was learned, and what waits")
    command.add_argument("reference", metavar="STATE", help=STATE)
    return command


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
        raise RequestError(
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
        raise BanditError(
            f"{features} holds no pair",
            hint="write one: simmerge-hub zoo features DIR OUTCOMES -o FILE",
        )
    with show.status("asking the bandit"):
        suggestions = sharing.suggest(reference, _questions(table))
    if as_json:
        show.data([_fields(suggestion) for suggestion in suggestions])
        return
    tables.suggestions(suggestions)
    show.note(f"next: simmerge-hub bandit report {shlex.quote(reference)} {suggestions[0].id}=GAIN")


def _questions(table: "FeatureTable") -> "list[Asked]":
    """Every pair of a table with its task, in the order of their names."""
    from simmerge_hub.selector.bandit.sharing import Asked

    return [
        Asked(
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


def _fields(suggestion: "Suggestion") -> dict[str, Any]:
    names = ("id", "arm", "task", "expert", "auxiliary", "expected")
    return {name: getattr(suggestion, name) for name in names} | {"chance": dict(suggestion.chance)}


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

    reported = [*gains, *(_read_gains(file) if file else ())]
    if not reported and not retrain:
        raise RequestError(
            "nothing to report",
            hint=f"simmerge-hub bandit report {shlex.quote(reference)} s000001=0.81",
        )
    if retrain:
        sharing.look(reference)  # what cannot be read is refused before anything is reported
    if reported:
        with show.status("reporting"):
            sharing.report(reference, reported)
    reports, dropped = 0, False
    if retrain:
        with show.status("training"):
            reports, dropped = sharing.retrain(reference)
    if as_json:
        names = [name for name, _ in reported]
        show.data({"reported": names, "retrained": reports > 0, "outcomes_left_out": dropped})
        return
    told = spell_count(reports, "report")
    what = f"; retrained on {told}" if reports else "; nothing to retrain on yet"
    show.note(f"{len(reported)} reported to {reference}{what if retrain else ''}")
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
        raise RequestError(
            f"{operator!r} is an arm, and an operator is asked for; nothing was added",
            hint=f"simmerge-hub bandit add {shlex.quote(reference)} {name} {sets}".rstrip(),
        )
    new = arm(operator, **dict(given))
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

    state = sharing.look(reference)
    rows = _arms(state)
    pending = state.history.pending
    waiting = [suggestion.id for suggestion in pending]
    if as_json:
        asked = {
            s.id: {"arm": s.arm, "task": s.task, "expert": s.expert, "auxiliary": s.auxiliary}
            for s in pending
        }
        show.data({"state": state.where, "arms": rows, "waiting": waiting, "asked": asked})
        return
    tables.arms(state.where, rows)
    if waiting:
        show.note(f"wait for a report: {list_first(waiting, WAITING_SHOWN)}")
        for s in pending[:WAITING_SHOWN]:
            show.note(f"{s.id}: {s.arm} of {s.expert} + {s.auxiliary}, on {s.task}")


def _arms(state: "State") -> dict[str, dict[str, Any]]:
    """Per arm, how often it was suggested and reported, its mean gain, whether it was added."""
    history = state.history
    gains: dict[str, list[float]] = {arm.label: [] for arm in state.bandit.all_arms(history)}
    for suggestion, gain in history.reports:
        gains[suggestion.arm].append(gain)
    suggested = Counter(suggestion.arm for suggestion in history.suggestions.values())
    return {
        label: {
            "suggested": suggested[label],
            "reported": len(known),
            "added": label not in state.bandit.labels,
            "mean": round(sum(known) / len(known), 4) if known else None,
        }
        for label, known in gains.items()
    }


def _read_gains(file: str) -> list[tuple[str, float]]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BanditError(
            f"{file} cannot be read: {explain(error)}", hint="name a file of lines ID=GAIN"
        ) from error
    gains = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, _, gain = line.strip().partition("=")
        try:
            gains.append((name, float(gain)))
        except ValueError as error:
            raise BanditError(
                f"{file}, line {number}: {line.strip()[:40]!r} is not ID=GAIN",
                hint="write s000001=0.81",
            ) from error
    return gains
