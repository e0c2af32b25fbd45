"""Instructions about a list of words or a record: JSON, reverse, sort, capitals, repeat, format."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from simmerge_hub.zoo.real.numbers import NAMES
from simmerge_hub.zoo.real.snippets import WORDS
from simmerge_hub.zoo.tasks import Draw, Example

CITIES = ("Rome", "Oslo", "Lima", "Cairo", "Paris", "Delhi", "Tokyo", "Berlin", "Madrid", "Dublin")
Record = dict[str, str | int]


def _list(order: str, answer: Callable[[Sequence[str]], str], random: Random) -> Example:
    """Something to do with three or four words."""
    words = random.sample(WORDS, random.randint(3, 4))
    return Example(prompt=f"{order}: {', '.join(words)} =>", answer=f" {answer(words)}")


def _repeat(random: Random) -> Example:
    """A word as often as is said."""
    word, other = random.sample(WORDS, 2)
    count, shown = random.randint(2, 4), f"{word} {other}" if random.random() < 0.5 else word
    answer = " ".join([shown] * count)
    return Example(prompt=f"Repeat {count} times: {shown} =>", answer=f" {answer}")


def _record(answer: Callable[[Record], str], random: Random) -> Example:
    """A person's record in words."""
    record: Record = {
        "name": random.choice(NAMES),
        "age": random.randint(11, 89),
        "city": random.choice(CITIES),
    }
    told = f"{record['name']} is {record['age']} and lives in {record['city']}."
    return Example(prompt=f"Record: {told} =>", answer=f" {answer(record)}")


def _csv(record: Record) -> str:
    return ";".join(str(value) for value in record.values())


def _card(record: Record) -> str:
    return f"{str(record['city']).upper()} | {record['name']} ({record['age']})"


VARIANTS: dict[str, Draw] = {
    "json": partial(_record, json.dumps),
    "csv": partial(_record, _csv),
    "card": partial(_record, _card),
    "reverse": partial(_list, "Reverse", lambda words: ", ".join(reversed(words))),
    "sort": partial(_list, "Sort", lambda words: ", ".join(sorted(words))),
    "sort-numbered": partial(
        _list, "Sort",
        lambda words: " ".join(f"{i}. {word}" for i, word in enumerate(sorted(words), 1)),
    ),
    "capitals": partial(_list, "Capitals", lambda words: ", ".join(words).upper()),
    "repeat": _repeat,
    "format": partial(_list, "Format", lambda words: "[" + "] [".join(words) + "]"),
}  # fmt: skip
"""`json`, `csv` and `card` share their prompts, and so do the two kinds of sorting."""
