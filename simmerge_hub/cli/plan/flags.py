"""What `simmerge-hub plan` may be told, in the order of its help."""

import argparse
from collections.abc import Mapping
from typing import Any

from simmerge_hub.cli import arguments


def add(command: argparse.ArgumentParser) -> None:
    """Add all of it but where the plan is written and how it is shown."""
    for add_some in (
        _add_models, _add_tasks, _add_objective, _add_search, _add_sources, _add_speech,
    ):  # fmt: skip
        add_some(command)


def _add_models(command: argparse.ArgumentParser) -> None:
    """Which models: named, or those of a catalogue."""
    command.add_argument("models", nargs="*", metavar="MODEL", help=arguments.REFERENCE)
    command.add_argument(
        "--collection", metavar="COLLECTION",
        help="instead of models: those of a collection on the Hub, org/title-0123456789abcdef…",
    )  # fmt: skip
    command.add_argument(
        "--author", metavar="ORG",
        help="instead of models: those of ORG on the Hub whose cards name --base",
    )  # fmt: skip
    command.add_argument(
        "--shortlist", type=arguments.positive, metavar="N",
        help="of a catalogue, search the best N by the scores on their cards; default: 12",
    )  # fmt: skip
    command.add_argument("--base", help="what the models were fine-tuned from")


def _add_tasks(command: argparse.ArgumentParser) -> None:
    """What they are merged for, and what is compared."""
    command.add_argument(
        "--expert", action=arguments.Once, type=arguments.pair, default=[], dest="experts",
        metavar="TASK=MODEL",
        help="which model is good at a task, if the cards have no scores (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--infer-expert", action="append", default=[], dest="infer", metavar="TASK",
        help="infer it from the task's probes instead, with a probability (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--probes", action=arguments.Once, type=arguments.pair, default=[], metavar="TASK=SOURCE",
        help="prompts of a task: org/dataset[@revision][:split[:column]] or a file (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--signals", choices=["full", "published", "structural"], default="full",
        help="structural: compare weights by a few byte ranges, download no model; published: as "
        "full where all is signed already, else structural; default: full",
    )  # fmt: skip


def _add_objective(command: argparse.ArgumentParser) -> None:
    """What merges are judged by."""
    command.add_argument(
        "--objective", choices=["mean", "worst"], default="mean",
        help="what to make as large as it can be of the shares of the task expert's score that a "
             "merge keeps: the mean over tasks, or the worst; default: mean",
    )  # fmt: skip
    command.add_argument(
        "--weight", action=arguments.Once, type=arguments.amount, default=[], dest="weights",
        metavar="TASK=NUMBER",
        help="how much a task counts in the mean; 1 if not said (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--keep", action=arguments.Once, type=arguments.amount, default=[], metavar="TASK=SHARE",
        help="only merges predicted to keep this share, 0 to 1, of the task expert's score "
             "(repeat)",
    )  # fmt: skip


def _add_search(command: argparse.ArgumentParser) -> None:
    """How far to search, and where the tree is drawn."""
    command.add_argument(
        "--balanced", action="store_true",
        help="of two models: only merges that treat both alike, with equal weights",
    )  # fmt: skip
    command.add_argument(
        "--min-models", type=arguments.positive, default=2, dest="least", metavar="N",
        help="of three or more models, merge at least so many; default: 2",
    )  # fmt: skip
    command.add_argument(
        "--max-models", type=arguments.positive, dest="most", metavar="N",
        help="of three or more models, merge at most so many; default: all, of a catalogue 4",
    )  # fmt: skip
    command.add_argument(
        "--beam", type=int, default=8, metavar="N",
        help="of four or more models: intermediates of a subset that are built upon; 0: all; "
             "default: 8",
    )  # fmt: skip
    command.add_argument(
        "--step-weights", choices=["even", "predicted"], default="even", dest="step_weights",
        help="of three or more models: parts of a step count alike or by their numbers of models; "
             "predicted: other weights are tried in the last step as well; default: even",
    )  # fmt: skip
    command.add_argument(
        "--try", type=arguments.positive, default=0, dest="tries", metavar="K",
        help="really make the K most promising merges and the safe one, one at a time in a "
             "temporary folder, and see what they keep of the experts' own answers to the probes",
    )  # fmt: skip
    command.add_argument(  # what --try was called
        "--probe-intermediates",
        type=arguments.positive,
        default=argparse.SUPPRESS,
        dest="tries",
        help=argparse.SUPPRESS,
    )
    command.add_argument(
        "--picture", metavar="FILE",
        help="of three or more models, draw the merge tree: .png, .svg or .pdf",
    )  # fmt: skip


def _add_sources(command: argparse.ArgumentParser) -> None:
    """Who predicts, and who may try another arm."""
    command.add_argument(
        "--predictor", metavar="PREDICTOR", help="another one: a file, or org/name[@revision]"
    )
    command.add_argument(
        "--bandit", metavar="STATE",
        help="let a bandit choose: it may try another arm to learn from it; org/name or a folder",
    )  # fmt: skip


def _add_speech(command: argparse.ArgumentParser) -> None:
    """How the merge reads text, ends answers and lays out chats."""
    command.add_argument(
        "--tokenizer", metavar="MODEL",
        help="whose tokenizer, chat template and end token the merge has: a model, base, or union; "
             "default: those the merged models share, else the first model's",
    )  # fmt: skip
    command.add_argument(
        "--chat-template", metavar="MODEL", dest="template",
        help="another chat template: that of a model, or base, or a file in Jinja",
    )  # fmt: skip


def check(command: argparse.ArgumentParser, given: Mapping[str, Any]) -> None:
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
