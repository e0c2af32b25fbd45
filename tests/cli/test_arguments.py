"""Values as argparse reads them, and options that commands share."""

import argparse
from collections.abc import Iterator
from typing import Any

import pytest

from simmerge_hub.cli import arguments
from simmerge_hub.cli.main import parser
from simmerge_hub.operators import arm
from simmerge_hub.selector.bandit.bandit import Settings


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "two", "١.٥"])
def test_a_number_above_zero(text: str) -> None:
    assert arguments.positive("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="is no whole number above zero"):
        arguments.positive(text)


def test_only_the_first_equals_divides() -> None:
    assert arguments.pair("code=org/data:train=1") == ("code", "org/data:train=1")
    for text in ("code", "=x", "code=", "="):
        with pytest.raises(argparse.ArgumentTypeError, match="is not NAME=VALUE"):
            arguments.pair(text)


def test_a_task_without_a_name_is_told_how_one_is_given() -> None:
    assert arguments.named_task("math=gsm8k") == ("math", "gsm8k")
    said = "has no name: write NAME=TASK, such as math=nano_math, and --tasks once for each"
    for text in ("nano_math", "nano_math,nano_code"):
        with pytest.raises(argparse.ArgumentTypeError, match=said):
            arguments.named_task(text)
    with pytest.raises(argparse.ArgumentTypeError, match="is not NAME=VALUE"):
        arguments.named_task("math=")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("plan a b --expert math=a --expert math=b", "math is given twice, as a and b: keep one"),
        ("plan a b --weight math=1 --weight code=2 --weight math=1", "math is given twice"),
        ("plan a b --keep math=0.9 --keep math=0.5", "as 0.9 and 0.5"),
        ("plan a b --probes math=x.txt --probes math=y.txt", "as x.txt and y.txt"),
        ("sign a --probes math=x.txt --probes math=y.txt", "as x.txt and y.txt"),
        ("search a b --budget 4 -o o --tasks code=t --tasks code=u", "code is given twice"),
        ("bandit add s ties --set density=0.2 --set density=0.3", "as 0.2 and 0.3"),
    ],
)
def test_of_two_values_for_one_name_none_is_taken(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last one was, and the first forgotten in silence."""
    with pytest.raises(SystemExit):
        parser().parse_args(words.split())
    assert said in " ".join(capsys.readouterr().err.split())


def test_an_amount_names_what_is_no_number() -> None:
    assert arguments.amount("math=2") == ("math", 2.0)
    with pytest.raises(argparse.ArgumentTypeError, match="'two' is no number, in 'math=two'"):
        arguments.amount("math=two")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("normalize=true", True),
        ("normalize=False", False),
        ("steps=100", 100),
        ("density=0.3", 0.3),
        ("weights=0.7/0.3", (0.7, 0.3)),
        ("rescale=l1", "l1"),
    ],
)
def test_parameters_are_read_as_labels_show_them(text: str, value: Any) -> None:
    name, seen = arguments.parameter(text)
    assert (name, seen) == (text.partition("=")[0], value)
    assert type(seen) is type(value)


def test_a_label_can_be_typed_again() -> None:
    weighted = arm("linear", weights=(0.7, 0.3))
    inside = weighted.label.partition("(")[2].rstrip(")")
    assert arm("linear", **dict([arguments.parameter(inside)])) == weighted


def test_a_command_carries_what_it_runs_and_shared_options_their_names() -> None:
    parser = argparse.ArgumentParser()
    group = arguments.group(parser.add_subparsers(), "zoo", "of models")

    def run(**_: Any) -> None: ...

    command = arguments.command(group, "go", run, "go there")
    for add in (
        arguments.json, arguments.signatures, arguments.threads, arguments.publishing
    ):  # fmt: skip
        add(command)
    given = ["--json", "--signatures", "a/b", "--signatures", "c/d", "--threads", "2", "--pr"]
    assert vars(parser.parse_args(["zoo", "go", *given])) == {
        "run": run, "as_json": True, "signatures": ["a/b", "c/d"], "threads": 2,
        "create_pr": True, "private": False,
    }  # fmt: skip
    with pytest.raises(SystemExit):
        parser.parse_args(["zoo"])


@pytest.mark.parametrize(
    "words",
    [
        "plan a -o plan.yaml b --json",
        "plan a b -o plan.yaml --json",
        "plan --json a -o plan.yaml b",
    ],
)
def test_options_may_stand_between_models(words: str) -> None:
    options = parser().parse_args(words.split())
    assert (options.models, options.output, options.as_json) == (["a", "b"], "plan.yaml", True)


def test_a_folder_that_begins_with_a_dash_stands_after_two_dashes() -> None:
    options = parser().parse_args(["plan", "-o", "plan.yaml", "--", "-a", "b"])
    assert (options.models, options.output) == (["./-a", "b"], "plan.yaml")
    assert parser().parse_args(["verify", "--", "-merged"]).reference == "./-merged"


@pytest.mark.parametrize("words", ["merge a b -o out", "merge a -o out b", "push a o/a b"])
def test_a_word_too_many_is_named(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(words.split())
    said = capsys.readouterr().err
    assert said.startswith(f"usage: simmerge-hub {words.split()[0]} ")
    assert said.endswith("error: one word too many: b\n")


def all_options(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from all_options(inner)
        elif action.option_strings and action.help != argparse.SUPPRESS:
            yield action


def test_help_states_the_default_of_every_value() -> None:
    silent = [
        (option.option_strings[-1], option.default)
        for option in all_options(parser())
        if option.default and not isinstance(option.default, bool | list) and option.nargs != 0
        if option.default not in (argparse.SUPPRESS, "auto")
        if f"default: {option.default}" not in str(option.help)
    ]
    assert silent == []


def test_help_states_what_a_bandit_begins_with() -> None:
    helps = {option.dest: str(option.help) for option in all_options(parser())}
    begun = Settings()
    assert helps["explore"].endswith(f"default: {begun.explore:g}")
    assert helps["trust"].endswith(f"default: {begun.trust:g}")
