"""What commands share: how one is added, options of several, values that argparse reads."""

import argparse
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

REFERENCE = "org/name, org/name@revision or a folder"


def command(
    commands: Any, name: str, run: Callable[..., None], summary: str
) -> argparse.ArgumentParser:
    """Add a command that calls `run` with its options, by name."""
    added: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    added.set_defaults(run=run)
    return added


def group(commands: Any, name: str, summary: str) -> Any:
    """Add a command that only has commands of its own; returns what these are added to."""
    added = commands.add_parser(name, help=summary)
    return added.add_subparsers(title="commands", metavar="COMMAND", required=True)


def json(command: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    command.add_argument(
        "--json", action="store_true", dest="as_json", help="print JSON for programs"
    )


def signatures(command: argparse.ArgumentParser) -> None:
    """Add `--signatures`."""
    command.add_argument(
        "--signatures", action="append", default=[], metavar="ORG/REPO",
        help="also take signatures that others published there, after a spot check (repeat)",
    )  # fmt: skip


def threads(command: argparse.ArgumentParser) -> None:
    """Add `--threads`."""
    command.add_argument("--threads", type=positive, metavar="N", help="default: all cores")


def publishing(command: argparse.ArgumentParser) -> None:
    """Add what a push to a repository may be told."""
    command.add_argument("--private", action="store_true", help="if the repository is new")
    command.add_argument("--pr", action="store_true", dest="create_pr", help="open a pull request")


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
        help="what to make as large as it can be: the mean over tasks, or the worst task",
    )  # fmt: skip
    command.add_argument(
        "--weight", action="append", type=amount, default=[], dest="weights", metavar="TASK=NUMBER",
        help="how much a task counts in the mean; 1 if not said (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--keep", action="append", type=amount, default=[], metavar="TASK=SHARE",
        help="only operators predicted to keep this share, 0 to 1, of the task's expert (repeat)",
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
