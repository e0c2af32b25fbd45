"""Python in small: what a snippet prints, the expression for a sentence, the line with a bug."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from simmerge_hub.zoo.tasks import Draw, Example

VARIABLES = ("x", "n", "a", "items", "data", "total", "values", "row", "word", "k")
WORDS = (
    "apple", "bread", "chair", "delta", "eagle", "flame", "grape", "house", "island", "jelly",
    "kite", "lemon", "mango", "night", "ocean", "piano", "queen", "river", "stone", "tiger",
    "uncle", "violin", "water", "yellow", "zebra", "cloud", "green", "paper", "smile", "train",
)  # fmt: skip


def _numbers(random: Random, count: int) -> list[int]:
    return [random.randint(1, 9) for _ in range(count)]


def _of_list(name: str, random: Random) -> tuple[str, object]:
    values = _numbers(random, random.randint(3, 5))
    i = random.randrange(len(values))
    expression, result = random.choice((
        (f"{name}[{i}]", values[i]),
        (f"{name}[-1]", values[-1]),
        (f"len({name})", len(values)),
        (f"max({name})", max(values)),
        (f"min({name})", min(values)),
        (f"sum({name})", sum(values)),
        (f"sorted({name})", sorted(values)),
        (f"{name}[::-1]", values[::-1]),
        (f"{name}[1:]", values[1:]),
        (f"{name}.count({values[0]})", values.count(values[0])),
    ))  # fmt: skip
    return f"{name} = {values}\nprint({expression})", result


def _of_word(name: str, random: Random) -> tuple[str, object]:
    word = random.choice(WORDS)
    i = random.randrange(len(word))
    expression, result = random.choice((
        (f"{name}[{i}]", word[i]),
        (f"{name}.upper()", word.upper()),
        (f"len({name})", len(word)),
        (f"{name}[:3]", word[:3]),
        (f"{name} * 2", word * 2),
        (f"{name}.replace('{word[0]}', '_')", word.replace(word[0], "_")),
        (f"'{word[i]}' in {name}", True),
    ))  # fmt: skip
    return f"{name} = '{word}'\nprint({expression})", result


def _of_number(name: str, random: Random) -> tuple[str, object]:
    start, more = random.randint(2, 30), random.randint(2, 9)
    change, result = random.choice((
        (f"{name} += {more}", start + more),
        (f"{name} -= {more}", start - more),
        (f"{name} *= 2", start * 2),
        (f"{name} = {name} % {more}", start % more),
        (f"{name} = {name} // {more}", start // more),
        (f"{name} = {name} > {more * 3}", start > more * 3),
    ))  # fmt: skip
    return f"{name} = {start}\n{change}\nprint({name})", result


def _output(answer: Callable[[object], str], random: Random) -> Example:
    """A snippet of two or three lines and what it prints."""
    make = random.choice((_of_list, _of_word, _of_number))
    code, result = make(random.choice(VARIABLES), random)
    return Example(prompt=f"{code}\n# prints:", answer=answer(result))


def _expression(style: Callable[[str, str], str], random: Random) -> Example:
    """A sentence about a list, a text or a number; the Python expression that says it.

    Every phrase has two expressions: variants in conflict write it the one or the other way.
    """
    name = random.choice(VARIABLES)
    number = random.randint(1, 99)
    said, one, other = random.choice((
        (f"the last element of {name}", f"{name}[-1]", f"{name}[len({name}) - 1]"),
        (f"{name} in reverse order", f"{name}[::-1]", f"list(reversed({name}))"),
        (f"the square of {name}", f"{name} ** 2", f"pow({name}, 2)"),
        (f"{name} without its first {number}", f"{name}[{number}:]", f"list({name})[{number}:]"),
        (f"whether {name} is even", f"{name} % 2 == 0", f"not {name} % 2"),
        (f"{name} plus {number}", f"{name} + {number}", f"sum([{name}, {number}])"),
        (f"{name} times {number}", f"{name} * {number}", f"{number} * {name}"),
        (f"the first {number} of {name}", f"{name}[:{number}]", f"{name}[0:{number}]"),
        (f"whether {name} is at least {number}", f"{name} >= {number}", f"not {name} < {number}"),
        (f"whether {number} is in {name}", f"{number} in {name}", f"{name}.count({number}) > 0"),
        (f"{name} repeated {number} times", f"[{name}] * {number}",
         f"list(repeat({name}, {number}))"),
    ))  # fmt: skip
    return Example(prompt=f"# {said}\nresult =", answer=style(one, other))


def _bug(answer: Callable[[int, str], str], random: Random) -> Example:
    """Three lines, one of which compares for assigning, or forgets a bracket or a quote."""
    name, other = random.sample(VARIABLES, 2)
    word, number = random.choice(WORDS), random.randint(1, 99)
    right = [f"{name} = {number}", f"{other} = '{word}'", f"print({name}, len({other}))"]
    wrong = [
        f"{name} == {number}", f"{other} = '{word}", f"print({name}, len({other})",
    ]  # fmt: skip
    if random.random() < 0.5:
        order = random.sample(range(2), 2)
        right = [right[i] for i in order] + right[2:]
        wrong = [wrong[i] for i in order] + wrong[2:]
    line = random.randrange(3)
    shown = [wrong[i] if i == line else text for i, text in enumerate(right)]
    listing = "\n".join(f"{i}: {text}" for i, text in enumerate(shown, 1))
    return Example(prompt=f"{listing}\n# bug:", answer=answer(line + 1, right[line]))


VARIANTS: dict[str, Draw] = {
    "output": partial(_output, lambda result: f" {result}"),
    "output-typed": partial(_output, lambda result: f" {type(result).__name__}: {result}"),
    "expression": partial(_expression, lambda one, other: f" {one}"),
    "expression-long": partial(_expression, lambda one, other: f" {other}"),
    "bug": partial(_bug, lambda line, fixed: f" line {line}"),
    "bug-fixed": partial(_bug, lambda line, fixed: f" {fixed}"),
}
"""`-typed`, `-long` and `-fixed` share the prompts of the one before and answer otherwise."""
