"""What commands share: how one is added, options of several, values that argparse reads."""

import argparse
import contextlib
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from json import dumps
from pathlib import Path
from typing import Any, NoReturn

from simmerge_hub.errors import OutputError
from simmerge_hub.names import suggest

REFERENCE = "org/name, org/name@revision or a folder"
WRONG_CHOICE = re.compile(r"invalid choice: '?([^' ]*)'?")
LAST_PORT = 65535
LONGEST_USAGE = 6
"""Rows of a usage that is printed before what is wrong."""


class Parser(argparse.ArgumentParser):
    """A parser that suggests what may have been meant, in rows no wider than the terminal."""

    mixing = False

    def parse_known_args(self, *given: Any, **how: Any) -> Any:
        """As argparse's, with options between the names of models too; an option that this command
        does not have, or a word too many, ends it here."""
        if self.mixing or self._subparsers is not None:
            namespace, rest = super().parse_known_args(*given, **how)
            options = [each for each in rest if each.startswith("-") and each != "-"]
            if options:
                named = options[0].partition("=")[0]
                meant = suggest(named, self._option_string_actions)
                self.error(f"there is no option {named}{meant and f'; {meant}'}")
            return namespace, rest
        words, *more = given or (sys.argv[1:],)
        self.mixing = True  # what follows calls this method once for options, once for the rest
        try:
            namespace, rest = self.parse_known_intermixed_args(_say_paths(words), *more, **how)
        finally:
            self.mixing = False
        if rest:
            self.error(f"one word too many: {rest[0]}")
        return namespace, rest

    def error(self, message: str) -> NoReturn:
        """What is wrong, to stderr, with the usage, or where that is long how to see it; exit code
        2."""
        if wrong := WRONG_CHOICE.search(message):
            choices = [str(c) for each in self._actions for c in each.choices or ()]
            if meant := suggest(wrong[1], choices):
                message = f"there is no {wrong[1]!r}; {meant}"
        usage, text = self.format_usage(), f"{self.prog}: error: {message}"
        if usage.count("\n") > LONGEST_USAGE:
            usage, text = "", f"{text} ({self.prog} --help shows all options)"
        sys.stderr.write(usage)
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns
            text = textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False)
        self.exit(2, f"{text}\n")


def _say_paths(words: Sequence[str]) -> list[str]:
    """What follows `--` is no option, which argparse forgets between options: `-x` is `./-x`."""
    end = words.index("--") if "--" in words else len(words)
    after = [f"./{word}" if word.startswith("-") else word for word in words[end + 1 :]]
    return [*words[:end], *after]


class Once(argparse.Action):
    """Collects the NAME=VALUE of an option that is repeated; of two with one name none is taken."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, given: Any, *_: Any
    ) -> None:
        """As `append`, unless the name is there."""
        held, (name, value) = getattr(namespace, self.dest) or [], given
        if name in dict(held):
            said = f"{dict(held)[name]} and {value}"
            raise argparse.ArgumentError(self, f"{name} is given twice, as {said}: keep one")
        setattr(namespace, self.dest, [*held, given])


class PrintCompletion(argparse.Action):
    """Prints what makes a shell complete commands and options, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *given: Any, **_: Any) -> NoReturn:
        import shtab

        script = shtab.complete(parser, shell=given[1])
        print(script.replace("-o bashdefault", "-o bashdefault -o default"))  # names of files, too
        parser.exit()


class ExtendHf(argparse.Action):
    """Makes `hf simmerge …` run this command, and ends.

    The `hf` command finds an extension by a file that names its executable, which `hf extensions
    remove simmerge` removes.
    """

    def __call__(self, parser: argparse.ArgumentParser, *given: Any, **_: Any) -> NoReturn:
        executable = Path(sys.executable).with_name("hf-simmerge")
        if not executable.is_file():
            parser.error(f"there is no {executable}: pip makes it when it installs simmerge-hub")
        folder = Path("~/.local/share/hf/extensions/hf-simmerge").expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {
            "owner": "simmerge-hub",
            "repo": "hf-simmerge",
            "repo_id": "simmerge-hub/hf-simmerge",
            "short_name": "simmerge",
            "executable_path": str(executable),
            "type": "binary",
            "installed_at": datetime.now(UTC).isoformat(),
            "description": "Predict how to merge models, merge them once, push the result.",
        }
        (folder / "manifest.json").write_text(dumps(manifest, indent=2))
        print("hf simmerge runs this command now; hf extensions remove simmerge undoes it")
        parser.exit()


def command(
    commands: Any, name: str, run: Callable[..., None], summary: str
) -> argparse.ArgumentParser:
    """Add a command that calls `run` with its options, by name."""
    added: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    added.set_defaults(run=run)
    quiet(added, default=argparse.SUPPRESS)
    return added


def group(commands: Any, name: str, summary: str) -> Any:
    """Add a command that only has commands of its own; returns what these are added to."""
    added = commands.add_parser(name, help=summary)
    return added.add_subparsers(title="commands", metavar="COMMAND", required=True)


def quiet(command: argparse.ArgumentParser, *, default: Any = False) -> None:
    """Add `--quiet`, which stands before a command or after it."""
    command.add_argument(
        "-q", "--quiet", action="store_true", default=default,
        help="print the result and errors, no notes and no progress",
    )  # fmt: skip


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


def dose(command: argparse.ArgumentParser) -> None:
    """Add `--no-dose`."""
    command.add_argument(
        "--no-dose", action="store_false", dest="dose",
        help="do not read models' own answers at parts of their delta; spares running their base",
    )  # fmt: skip


def threads(command: argparse.ArgumentParser) -> None:
    """Add `--threads`."""
    command.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="default: all cores, or as many as memory allows",
    )


def ray(command: argparse.ArgumentParser, what: str) -> None:
    """Add `--ray`, which says where `what` is done."""
    command.add_argument(
        "--ray", metavar="ADDRESS",
        help=f"{what} the nodes of a Ray cluster: auto for the one here, or HOST:PORT",
    )  # fmt: skip


def yes(command: argparse.ArgumentParser) -> None:
    """Add `--yes`."""
    command.add_argument(
        "-y", "--yes", action="store_true", help="ask nothing before much is downloaded"
    )


def publishing(command: argparse.ArgumentParser) -> None:
    """Add what a push to a repository may be told."""
    command.add_argument("--private", action="store_true", help="if the repository is new")
    command.add_argument("--pr", action="store_true", dest="create_pr", help="open a pull request")


def public(command: argparse.ArgumentParser) -> None:
    """Add `--public`."""
    command.add_argument(
        "--public", action="store_true",
        help="let everybody see the merge of models that not everybody sees",
    )  # fmt: skip


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero")
    return int(text)


def port(text: str) -> int:
    """A number that a port may have."""
    if not text.isdecimal() or not 1 <= int(text) <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: they are 1 to {LAST_PORT}")
    return int(text)


def pair(text: str) -> tuple[str, str]:
    """`TASK=VALUE` -> (task, value)."""
    task, equals, value = text.partition("=")
    if not (task and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return task, value


def named_task(text: str) -> tuple[str, str]:
    """`NAME=TASK` -> (name, task of the harness)."""
    if "=" not in text:
        one = text.partition(",")[0]
        raise argparse.ArgumentTypeError(
            f"{text!r} has no name: write NAME=TASK, such as {one.rpartition('_')[2]}={one}, and "
            "--tasks once for each"
        )
    return pair(text)


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


def check_made(output: str, what: str, *, file: str) -> None:
    """`check_output` of a file whose folder is made, if it is not there."""
    from simmerge_hub.hub.assets import writing

    with writing(Path(output)):
        Path(output).parent.mkdir(parents=True, exist_ok=True)
    check_output(output, what, file=file)


def check_output(output: str | None, what: str, *, file: str) -> None:
    """Before any work: whether a file can be written there; in a folder it could be called `file`.

    Raises:
        OutputError: there is no such folder, nothing can be written there, or it is a folder
            itself, a device or a pipe.
    """
    if output is None:
        return
    from simmerge_hub.hub.assets import refuse_special, refuse_unwritable

    path = Path(output)
    refuse_special(path)
    if path.is_dir():
        raise OutputError(
            f"{output} is a folder, not a file to write the {what} in",
            hint=f"name a file: {path / file}",
        )
    if not path.parent.is_dir():
        raise OutputError(
            f"there is no folder {path.parent} to write the {what} in",
            hint=f"make it first: mkdir -p {path.parent}",
        )
    refuse_unwritable(path)
