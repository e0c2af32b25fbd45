"""What is asked for on the command line: values that argparse reads, and the many of a plan."""

import argparse
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

REFERENCE = "org/name, org/name@revision or a folder"


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above zero")
    return int(text)


def pair(text: str) -> tuple[str, str]:
    """`TASK=VALUE` -> (task, value)."""
    task, equals, value = text.partition("=")
    if not (task and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return task, value


def amount(text: str) -> tuple[str, float]:
    """`TASK=NUMBER` -> (task, number)."""
    task, value = pair(text)
    try:
        return task, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is no number, in {text!r}") from None


def parameter(text: str) -> tuple[str, Any]:
    """`NAME=VALUE` -> (name, value), as labels of arms show them: `density=0.3`, `t=0.5`."""
    name, value = pair(text)
    values = tuple(map(_value, value.split("/")))
    return name, values if "/" in value else values[0]


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(text)
    return text


def plan(command: argparse.ArgumentParser) -> None:
    """The arguments of `plan` that no other command has."""
    command.add_argument("models", nargs="*", metavar="MODEL", help=REFERENCE)
    command.add_argument(
        "--collection", metavar="COLLECTION",
        help="instead of models: those of a collection on the Hub, org/title-0123456789abcdef…",
    )  # fmt: skip
    command.add_argument(
        "--author", metavar="ORG",
        help="instead of models: those of ORG on the Hub whose cards name --base",
    )  # fmt: skip
    command.add_argument(
        "--shortlist", type=positive, metavar="N",
        help="of a catalogue, search the best N by the scores on their cards; default: 12",
    )  # fmt: skip
    command.add_argument("--base", help="what the models were fine-tuned from")
    command.add_argument(
        "--expert", action="append", type=pair, default=[], dest="experts", metavar="TASK=MODEL",
        help="which model is good at a task, if the cards have no scores (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--infer-expert", action="append", default=[], dest="infer", metavar="TASK",
        help="infer it from the task's probes instead, with a probability (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--probes", action="append", type=pair, default=[], metavar="TASK=SOURCE",
        help="prompts of a task: org/dataset[:split[:column]] or a file (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--signals", choices=["full", "structural"], default="full",
        help="structural: compare weights by a few byte ranges, download no model",
    )  # fmt: skip
    command.add_argument(
        "--objective", choices=["mean", "worst"], default="mean",
        help="what to make as large as it can be of the shares of the task expert's score that a "
             "merge keeps: the mean over tasks, or the worst",
    )  # fmt: skip
    command.add_argument(
        "--weight", action="append", type=amount, default=[], dest="weights", metavar="TASK=NUMBER",
        help="how much a task counts in the mean; 1 if not said (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--keep", action="append", type=amount, default=[], metavar="TASK=SHARE",
        help="only merges predicted to keep this share, 0 to 1, of the task expert's score "
             "(repeat)",
    )  # fmt: skip
    command.add_argument(
        "--min-models", type=positive, default=2, dest="least", metavar="N",
        help="of three or more models, merge at least so many; default: 2",
    )  # fmt: skip
    command.add_argument(
        "--max-models", type=positive, dest="most", metavar="N",
        help="of three or more models, merge at most so many; default: all, of a catalogue 4",
    )  # fmt: skip
    command.add_argument(
        "--beam", type=int, default=8, metavar="N",
        help="of four or more models: intermediates of a subset that are built upon; 0: all",
    )  # fmt: skip
    command.add_argument(
        "--step-weights", choices=["even", "predicted"], default="even", dest="step_weights",
        help="of three or more models: parts of a step count alike or by their numbers of models; "
             "predicted: other weights are tried in the last step as well",
    )  # fmt: skip
    command.add_argument(
        "--probe-intermediates", type=positive, dest="probe_intermediates", metavar="K",
        help="of three or more models: really make the K best merges, one at a time in a temporary "
             "folder, and run the probes through them before deciding",
    )  # fmt: skip
    command.add_argument(
        "--picture", metavar="FILE",
        help="of three or more models, draw the merge tree: .png, .svg or .pdf",
    )  # fmt: skip
    command.add_argument(
        "--predictor", metavar="PREDICTOR", help="another one: a file, or org/name[@revision]"
    )
    command.add_argument(
        "--bandit", metavar="STATE",
        help="let a bandit choose: it may try another arm to learn from it; org/name or a folder",
    )  # fmt: skip
    command.add_argument("-o", "--output", metavar="FILE", help="write the plan as YAML")
    command.set_defaults(check=partial(_check, command))


def _check(command: argparse.ArgumentParser, given: Mapping[str, Any]) -> None:
    """End with a usage error unless models, a collection or an author are given, and only one."""
    places = {
        "MODEL": given["models"],
        "--collection": given["collection"],
        "--author": given["author"],
    }
    named = [what for what, value in places.items() if value]
    if not named:
        command.error("name models, or --collection COLLECTION, or --author ORG --base BASE")
    if len(named) > 1:
        command.error(f"{' and '.join(named)} exclude each other: give one of them")
    if given["author"] and not given["base"]:
        command.error("--author needs --base: whose fine-tunes shall be looked for?")
    if given["models"] and given["shortlist"]:
        command.error("--shortlist goes with --collection or --author")
    if not given["models"] and given["infer"]:
        command.error("--infer-expert is for two models that are named; use --expert TASK=MODEL")


def bandit(commands: Any, command: Callable[..., argparse.ArgumentParser]) -> None:
    """The commands of `bandit`; `command` adds one to a group."""
    group = commands.add_parser("bandit", help="learn which operator to use from merges you score")
    verbs = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    init = command(verbs, "init", "bandit:init", "start a bandit from measured outcomes")
    init.add_argument("reference", metavar="STATE", help="org/name or a folder, to be made")
    init.add_argument(
        "outcomes", nargs="+", metavar="OUTCOMES",
        help="what zoo measure wrote; all of them before --features",
    )  # fmt: skip
    init.add_argument(
        "--features", required=True, action="append", metavar="FILE",
        help="what zoo features wrote (repeat: one for each of OUTCOMES, in their order)",
    )  # fmt: skip
    init.add_argument(
        "--explore", type=float, metavar="X", help="1: Thompson sampling, 0: no exploration"
    )
    init.add_argument(
        "--trust", type=float, metavar="SHARE", help="in the offline forecast, above 0, at most 1"
    )
    init.add_argument(
        "--keep", type=float, metavar="SHARE", help="below 1: old reports fade, by this per report"
    )
    init.add_argument("--seed", type=int, metavar="N", help="of every draw")
    init.add_argument("--private", action="store_true", help="if it is a repository")
    suggest = command(
        verbs, "suggest", "bandit:suggest", "suggest an operator for each pair of a table"
    )
    suggest.add_argument("reference", metavar="STATE", help="org/name or a folder")
    suggest.add_argument(
        "--features", required=True, metavar="FILE", help="pairs and tasks: a table of features"
    )
    report = command(
        verbs, "report", "bandit:report", "report what suggested merges gained, in one commit"
    )
    report.add_argument("reference", metavar="STATE", help="org/name or a folder")
    report.add_argument(
        "gains", nargs="*", type=amount, metavar="ID=GAIN",
        help="share of the gap between auxiliary and expert that the merge closed, -1 to 1.5",
    )  # fmt: skip
    report.add_argument("--from", dest="file", metavar="FILE", help="lines of ID=GAIN; -: stdin")
    report.add_argument(
        "--retrain", action="store_true", help="then train it again, on all that was reported"
    )
    add = command(verbs, "add", "bandit:add", "add an arm: an operator with its parameters")
    add.add_argument("reference", metavar="STATE", help="org/name or a folder")
    add.add_argument("operator", metavar="OPERATOR", help="simmerge-hub operators lists them")
    add.add_argument(
        "--set", action="append", type=parameter, default=[], dest="given", metavar="NAME=VALUE",
        help="a parameter, as labels of arms show it: density=0.3 (repeat)",
    )  # fmt: skip
    status = command(verbs, "status", "bandit:status", "what was learned, and what waits")
    status.add_argument("reference", metavar="STATE", help="org/name or a folder")
    for verb in (init, suggest, report, add, status):
        verb.add_argument(
            "--json", action="store_true", dest="as_json", help="print JSON for programs"
        )
