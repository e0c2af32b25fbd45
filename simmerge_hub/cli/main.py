"""Parse, call one verb, print. The only room that prints: data to stdout, the rest to stderr.

Exit codes: 0 done, 1 an error of ours (message and hint) or of the system (message), 2 wrong usage,
130 interrupted. Nothing heavy is imported before a command needs it.
"""

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from simmerge_hub.cli import arguments
from simmerge_hub.cli.arguments import REFERENCE, pair, positive
from simmerge_hub.errors import SimmergeError
from simmerge_hub.version import __version__

DESCRIPTION = "Predict how to merge fine-tuned language models, merge them once, push the result."
EXAMPLE = """\
example:
  simmerge-hub plan org/code-7b org/math-7b -o plan.yaml
  simmerge-hub merge plan.yaml -o merged
  simmerge-hub push merged org/code-math-7b
"""
RECIPE = "plan.yaml, a recipe (ours or mergekit's), or a merged model on the Hub"


def run() -> None:
    """The console command: `main`, with a quick start and a quick end.

    Importing torch makes hundreds of thousands of objects that stay: collecting garbage among them
    takes a quarter of a second, and taking them apart at the end half a second.
    """
    gc.set_threshold(200_000, 20, 20)
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):  # closed, or a pipe that nobody reads
            stream.flush()
    os._exit(code)


def main(given: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = vars(parser().parse_args(given))
    check: Callable[..., None] = options.pop("check", lambda _: None)
    check(options)
    module, function = options.pop("run")
    try:
        run: Callable[..., Any] = getattr(import_module(f"simmerge_hub.cli.{module}"), function)
        run(**options)
    except SimmergeError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f" hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing is half-written; a merge goes on if run again", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"error: {_told(error)}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The whole command line; the reference page is generated from it."""
    top = argparse.ArgumentParser(
        prog="simmerge-hub",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"simmerge-hub {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _plan(commands)
    _sign(commands)
    _map(commands)
    _check(commands)
    _merge(commands)
    _push(commands)
    _recipe(commands)
    _operators(commands)
    _zoo(commands)
    _predictor(commands)
    arguments.bandit(commands, _command)
    _probes(commands)
    _localhub(commands)
    _demo(commands)
    return top


def _told(error: OSError) -> str:
    if error.filename is None or error.strerror is None:
        return str(error) or type(error).__name__
    return f"{error.filename}: {error.strerror}"


def _command(commands: Any, name: str, home: str, summary: str) -> argparse.ArgumentParser:
    module, _, function = home.partition(":")
    command = commands.add_parser(name, help=summary, description=summary)
    command.set_defaults(run=(module, function))
    return command


def _json(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--json", action="store_true", dest="as_json", help="print JSON for programs"
    )


def _plan(commands: Any) -> None:
    command = _command(
        commands, "plan", "plan:run", "predict how to merge models; merges and evaluates nothing"
    )
    arguments.plan(command)
    _signatures(command)
    _json(command)


def _map(commands: Any) -> None:
    command = _command(
        commands, "map", "map:run", "compare every pair of many models; signs each model once"
    )
    command.add_argument("models", nargs="+", metavar="MODEL", help=REFERENCE)
    command.add_argument("--base", help="what the models were fine-tuned from")
    command.add_argument(
        "--signals", choices=["structural", "full"], default="structural",
        help="full: compare behaviour on probes too, for which each model is downloaded whole",
    )  # fmt: skip
    _signatures(command)
    command.add_argument("-o", "--output", metavar="FILE", help="draw it: .png, .svg or .pdf")
    _json(command)


def _sign(commands: Any) -> None:
    command = _command(
        commands,
        "sign",
        "sign:run",
        "sign models once, so that plans need not run them; publish it",
    )
    command.add_argument("models", nargs="+", metavar="MODEL", help=REFERENCE)
    command.add_argument("--base", help="what an adapter was trained on, if it does not say")
    command.add_argument(
        "--probes", action="append", type=pair, default=[], metavar="TASK=SOURCE",
        help="prompts of a task: org/dataset[:split[:column]] or a file (repeat); default: ours",
    )  # fmt: skip
    command.add_argument(
        "--signals", choices=["full", "structural"], default="full",
        help="structural: sample the weights by a few byte ranges, run and download no model",
    )  # fmt: skip
    _signatures(command)
    command.add_argument("-o", "--output", metavar="FILE", help="write the signature as a file")
    command.add_argument(
        "--push", action="store_true",
        help="publish it in the model's repository; a pull request where you may not write",
    )  # fmt: skip
    command.add_argument(
        "--to", metavar="ORG/DATASET", help="publish it in a data set of yours instead"
    )
    _json(command)


def _signatures(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--signatures", action="append", default=[], metavar="ORG/REPO",
        help="also take signatures that others published there, after a spot check (repeat)",
    )  # fmt: skip


def _merge(commands: Any) -> None:
    command = _command(commands, "merge", "verbs:merge", "run a plan or recipe, once")
    command.add_argument("recipe", metavar="RECIPE", help=RECIPE)
    command.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to make")
    command.add_argument("--overwrite", action="store_true", help="replace DIR when done")
    command.add_argument("--threads", type=positive, metavar="N", help="default: all cores")
    command.add_argument(
        "--evict", action="store_true", help="delete downloaded shards as soon as they are merged"
    )
    command.add_argument(
        "--no-fsync", action="store_false", dest="durable", help="leave flushing to the system"
    )
    _json(command)


def _check(commands: Any) -> None:
    command = _command(
        commands, "check", "verbs:check",
        "say what a merge would do and cost, or why it cannot be done; reads no weight",
    )  # fmt: skip
    command.add_argument("recipe", metavar="RECIPE", help=RECIPE)
    command.add_argument("--threads", type=positive, metavar="N", help="default: all cores")
    _json(command)


def _recipe(commands: Any) -> None:
    recipe = commands.add_parser("recipe", help="translate recipes")
    verbs = recipe.add_subparsers(title="commands", metavar="COMMAND", required=True)
    export = _command(verbs, "export", "verbs:export", "print a recipe in a tool's format")
    export.add_argument("recipe", metavar="RECIPE", help=RECIPE)
    export.add_argument(
        "--to", choices=["simmerge", "mergekit"], required=True, help="the format to write"
    )


def _push(commands: Any) -> None:
    command = _command(commands, "push", "verbs:push", "push a merge and its card in one commit")
    command.add_argument("folder", metavar="DIR", help="what merge made")
    command.add_argument("repo_id", metavar="REPO", help="org/name")
    command.add_argument("--private", action="store_true", help="if the repository is new")
    command.add_argument("--pr", action="store_true", dest="create_pr", help="open a pull request")
    _json(command)


def _operators(commands: Any) -> None:
    _json(_command(commands, "operators", "verbs:operators", "list the merge operators"))


def _zoo(commands: Any) -> None:
    zoo = commands.add_parser("zoo", help="build and publish the nano models we train on")
    verbs = zoo.add_subparsers(title="commands", metavar="COMMAND", required=True)
    build = _command(verbs, "build", "zoo:build", "train a zoo of nano models from its recipe")
    build.add_argument("recipe", metavar="RECIPE", help="a YAML file like recipes/zoo.yaml")
    build.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to fill")
    publish = _command(verbs, "publish", "zoo:publish", "push a zoo's models and probes to the Hub")
    publish.add_argument("namespace", metavar="ORG", help="where to push them")
    publish.add_argument("--dir", dest="folder", metavar="DIR", help="default: the packaged zoo")
    measure = _command(
        verbs, "measure", "zoo:measure", "merge and evaluate every pair of a zoo; write a table"
    )
    measure.add_argument("folder", metavar="DIR", help="what zoo build made")
    measure.add_argument("-o", "--output", required=True, metavar="FILE", help="outcomes (.jsonl)")
    features = _command(verbs, "features", "zoo:features", "compute the features of every pair")
    features.add_argument("folder", metavar="DIR", help="what zoo build made")
    features.add_argument("outcomes", metavar="OUTCOMES", help="what zoo measure wrote")
    features.add_argument("-o", "--output", required=True, metavar="FILE", help="table (.jsonl)")


def _predictor(commands: Any) -> None:
    predictor = commands.add_parser("predictor", help="train and publish predictors of utilities")
    verbs = predictor.add_subparsers(title="commands", metavar="COMMAND", required=True)
    train = _command(verbs, "train", "zoo:train", "train a predictor on measured outcomes")
    train.add_argument("outcomes", metavar="OUTCOMES", help="what zoo measure wrote")
    train.add_argument("--features", required=True, metavar="FILE", help="what zoo features wrote")
    train.add_argument(
        "--merges", metavar="FILE", help="measured merges of three models and more (.jsonl)"
    )
    train.add_argument("-o", "--output", required=True, metavar="FILE", help="predictor (.json)")
    _json(train)
    push = _command(
        verbs, "push", "predictor:push", "push a predictor and a card about it in one commit"
    )
    push.add_argument("file", metavar="FILE", help="what predictor train wrote")
    push.add_argument("repo_id", metavar="REPO", help="org/name")
    push.add_argument("--private", action="store_true", help="if the repository is new")
    push.add_argument("--pr", action="store_true", dest="create_pr", help="open a pull request")
    _json(push)


def _probes(commands: Any) -> None:
    probes = commands.add_parser("probes", help="publish our probe prompts")
    verbs = probes.add_subparsers(title="commands", metavar="COMMAND", required=True)
    publish = _command(
        verbs, "publish", "probes:publish", "push our prompts of five domains as data sets"
    )
    publish.add_argument("namespace", metavar="ORG", help="where to push them")
    publish.add_argument("--private", action="store_true", help="if a data set is new")


def _localhub(commands: Any) -> None:
    command = _command(commands, "localhub", "local:localhub", "serve a Hub on this machine only")
    command.add_argument("--dir", required=True, metavar="DIR", help="where its state is kept")
    command.add_argument("--port", type=int, default=0, help="default: a free one")
    command.add_argument(
        "--idle", type=float, metavar="SECONDS", help="stop after so long without a request"
    )


def _demo(commands: Any) -> None:
    command = _command(
        commands, "demo", "local:demo", "the whole chain on nano models and a local Hub"
    )
    command.add_argument("--dir", metavar="DIR", help="keep the Hub and the merge in this folder")


if __name__ == "__main__":
    run()
