"""Parse, call one verb, print. The only room that prints: data to stdout, the rest to stderr.

Exit codes: 0 done, 1 an error of ours (message and hint) or of the system (message), 2 wrong usage,
130 interrupted. A room of this hall holds its commands' options and what they run, and imports what
is heavy inside functions.
"""

import argparse
import contextlib
import gc
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from simmerge_hub.cli import arguments, local, plan, show, sign, trust, verbs, zoo
from simmerge_hub.cli import map as map_command
from simmerge_hub.cli.learning import bandit, evaluate, learn, predictor, search
from simmerge_hub.errors import RepoNotFound, SimmergeError
from simmerge_hub.literal import printable, without_credentials
from simmerge_hub.version import __version__

ROOMS = (
    plan, sign, map_command, verbs, trust, evaluate, learn, search, zoo, predictor, bandit, local,
)  # fmt: skip
"""What adds commands, in the order in which help lists them."""

DESCRIPTION = "Predict how to merge fine-tuned language models, merge once, push the result."
EXAMPLE = """\
example:
  simmerge-hub plan org/code-7b org/math-7b -o plan.yaml
  simmerge-hub merge plan.yaml -o merged
  simmerge-hub push merged org/code-math-7b
"""
LITTLE_ROOM = 100_000_000
"""Bytes: with more than that left, it is another disk that is full."""
NUMBER = re.compile(r"\(os error (\d+)\)")
"""How the client's Rust ends what it says of a system's error, which then has no number."""


def run() -> None:
    """The console command: `main`, with a quick start and a quick end.

    Importing torch makes hundreds of thousands of objects that stay: collecting garbage among them
    takes a quarter of a second, and taking them apart at the end half a second. XGBoost imports
    scikit-learn where it is installed, and with it pandas and SciPy's statistics, which takes as
    long as all of a plan; only the harness that evaluates uses them.
    """
    if not set(sys.argv[1:2]) & {"evaluate", "learn", "search"}:
        sys.modules.setdefault("sklearn", cast(Any, None))
    gc.set_threshold(200_000, 20, 20)
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):  # closed, or a pipe that nobody reads
            stream.flush()
    os._exit(code)


def main(given: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    top = parser()
    options = vars(top.parse_args(given))
    if options.get("run") is None:
        top.print_help()
        return 0
    _hush(options.pop("quiet"))
    if sys.platform == "win32":
        _report("error", "on Windows itself, files cannot be locked and written as is done here")
        _report(" hint", "run it in WSL, the Linux in Windows: wsl --install")
        return 1
    check: Callable[..., None] = options.pop("check", lambda _: None)
    check(options)
    run: Callable[..., None] = options.pop("run")
    try:
        run(**options)
    except SimmergeError as error:
        _report("error", str(error))
        _report_hints(error)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing is half-written; a merge goes on if run again", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk, a folder that may not be written
        _report_refusal(error)
        return 1
    return 0


def _report(what: str, text: str) -> None:
    """A message that may quote others: nothing in it is acted on, or names a password."""
    show.message(what, without_credentials(printable(text)))


def _report_refusal(error: OSError) -> None:
    """What the system refused; of a full disk that it does not name, whether a cache is on it."""
    from simmerge_hub.hub.assets import CLOSED, MORE_ROOM, NO_ROOM, fullest_cache

    said = NUMBER.search(str(error))
    number = int(said[1]) if error.errno is None and said else error.errno
    if number not in NO_ROOM:
        _report("error", _say(error))
        if number in CLOSED:
            _report(" hint", _where_else(error))
        elif "temporary directory" in str(error):
            _report(" hint", "set TMPDIR to a folder in which you may make files")
        return
    place, variable, left = fullest_cache()
    if error.filename is not None or left > LITTLE_ROOM:
        _report("error", _say(error))
        _report(" hint", MORE_ROOM)
        return
    from simmerge_hub.units import spell_bytes

    _report("error", f"{error.strerror or error}; {spell_bytes(left)} are left in {place}")
    _report(" hint", f"free some space, or set {variable} to a folder on another disk")


def _where_else(error: OSError) -> str:
    """What to do where the system lets nobody write, or read."""
    from simmerge_hub.hub.assets import ELSEWHERE, closed_cache, is_there

    path = Path(os.fsdecode(error.filename)).absolute() if error.filename is not None else None
    if variable := closed_cache(path):
        return f"set {variable} to a folder in which you may make files"
    closed = path is not None and any(not os.access(each, os.X_OK) for each in path.parents)
    if path is not None and (closed or (is_there(path) and not os.access(path, os.R_OK))):
        return "ask its owner to let you in, or name another"
    return ELSEWHERE


def _report_hints(error: SimmergeError) -> None:
    """The hint, and of a repository that is not there what may have been meant."""
    hints = [error.hint]
    if isinstance(error, RepoNotFound) and error.kind:
        from simmerge_hub.hub.listing import names_near, other_kind

        if other := other_kind(error.repo, error.kind):
            hints = [f"{error.repo} is a {other}: name a {error.kind} instead"]
        elif error.kind == "model" and (names := names_near(error.repo)):
            hints.insert(0, f"did you mean {' or '.join(names)}?")
    for hint in filter(None, hints):
        _report(" hint", hint)


def _hush(quiet: bool) -> None:
    """Whether notes and progress are printed, ours and the client's; of a full disk we speak."""
    warnings.filterwarnings("ignore", "Not enough free disk space")
    show.REST.hush(quiet)
    if quiet:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"


def parser() -> argparse.ArgumentParser:
    """The whole command line; the reference page is generated from it."""
    top = arguments.Parser(
        prog="simmerge-hub",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"simmerge-hub {__version__}")
    arguments.quiet(top)
    top.add_argument(
        "--print-completion", action=arguments.PrintCompletion, choices=["bash", "zsh", "tcsh"],
        default=argparse.SUPPRESS,
        help="print what makes this shell complete commands and options",
    )  # fmt: skip
    top.add_argument(
        "--extend-hf", action=arguments.ExtendHf, nargs=0, default=argparse.SUPPRESS,
        help="make `hf simmerge …` run this command",
    )  # fmt: skip
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    for room in ROOMS:
        room.options(commands)
    return top


def _say(error: OSError) -> str:
    said = error.strerror or str(error) or type(error).__name__
    return said if error.filename is None else f"{error.filename}: {said}"


if __name__ == "__main__":
    run()
