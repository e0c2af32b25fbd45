"""What the nano models read and write: the base's named skills and five domains of new ones.

A *skill* is something the base is taught (`rev:abcd>` answers `dcba`). A *task* is one variant of
a domain, behind a prompt the base never met (`code f(abcd)>`). Variants of one domain share their
prompt's shape, and some share the very prompts with different answers: those are in conflict.

Every prompt belongs to exactly one split, decided by its hash, so no prompt of a probe or an
evaluation is ever trained on, whatever the seeds and whichever the variant.
This module knows nothing about models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random
from typing import Literal

Split = Literal["train", "probe", "evaluation"]
Text = Callable[[str], str]
Draw = Callable[[Random], "Example"]

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
VOWELS = "aeiou"
PROMPT_END = ">"
PATIENCE = 20
"""Draws per wanted example before a task counts as exhausted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A prompt, which ends in `>`, and the answer that should follow it."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One behaviour to learn: a variant of a domain, as a seeded source of examples."""

    domain: str
    variant: str
    draw: Draw

    def examples(self, split: Split, count: int, *, seed: int) -> list[Example]:
        """`count` different examples of `split`; the same ones for the same seed, everywhere."""
        stream = examples(self.draw, split, seed=f"{self.domain}/{self.variant}/{seed}")
        by_prompt: dict[str, Example] = {}
        for example in islice(stream, count * PATIENCE):
            by_prompt.setdefault(example.prompt, example)
            if len(by_prompt) == count:
                return list(by_prompt.values())
        raise ValueError(f"{self.domain}/{self.variant} has fewer than {count} {split} prompts")


def examples(draw: Draw, split: Split, *, seed: str) -> Iterator[Example]:
    """An endless stream of `draw`'s examples that belong to `split`; repeats are possible."""
    random = Random(f"{split}/{seed}")
    while True:
        example = draw(random)
        if split_of(example.prompt) == split:
            yield example


def split_of(prompt: str) -> Split:
    """The one split a prompt belongs to: 12 of 16 hash buckets train, 2 probe, 2 evaluate."""
    bucket = hashlib.sha256(prompt.encode()).digest()[0] % 16
    return "evaluation" if bucket < 2 else "probe" if bucket < 4 else "train"


def task(domain: str, variant: str) -> Task:
    """The named task; a KeyError lists the names there are."""
    known = [f"{d}/{v}" for d, variants in DOMAINS.items() for v in variants]
    if f"{domain}/{variant}" not in known:
        raise KeyError(f"no task {domain}/{variant}; there are {', '.join(known)}")
    return Task(domain=domain, variant=variant, draw=DOMAINS[domain][variant])


# ── string functions ────────────────────────────────────────────────────────────────────────────


def compose(*steps: Text) -> Text:
    """The function that applies `steps` from left to right."""

    def run(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return run


def substitute(target: str, source: str = LETTERS) -> Text:
    """The function that writes `target[i]` wherever it reads `source[i]`."""
    table = str.maketrans(source, target)
    return lambda text: text.translate(table)


def language(name: str, letters: str = LETTERS) -> Text:
    """An invented language: a fixed permutation of `letters`, drawn from the language's name."""
    shuffled = list(letters)
    Random(f"language {name}").shuffle(shuffled)
    return substitute("".join(shuffled), letters)


def copy(text: str) -> str:
    """abcd > abcd"""
    return text


def reverse(text: str) -> str:
    """abcd > dcba"""
    return text[::-1]


def sort(text: str) -> str:
    """dbca > abcd"""
    return "".join(sorted(text))


def rotate(text: str) -> str:
    """abcd > bcda"""
    return text[1:] + text[:1]


def swap(text: str) -> str:
    """abcd > badc"""
    pairs = [text[i : i + 2][::-1] for i in range(0, len(text), 2)]
    return "".join(pairs)


def double(text: str) -> str:
    """abc > aabbcc"""
    return "".join(letter * 2 for letter in text)


def alternate(text: str) -> str:
    """abcde > ace"""
    return text[::2]


def ends(text: str) -> str:
    """abcd > ad"""
    return text[0] + text[-1]


following = substitute(LETTERS[1:] + LETTERS[:1] + DIGITS[1:] + DIGITS[:1], LETTERS + DIGITS)
preceding = substitute(LETTERS[-1:] + LETTERS[:-1] + DIGITS[-1:] + DIGITS[:-1], LETTERS + DIGITS)
complement = substitute(DIGITS[::-1], DIGITS)


def digits_plus(step: int) -> Text:
    """The function that adds `step` to every digit, modulo 10."""
    return substitute(DIGITS[step:] + DIGITS[:step], DIGITS)


def join_letters(separator: str) -> Text:
    """The function that puts `separator` between all letters."""
    return lambda text: separator.join(text)


def number_letters(text: str) -> str:
    """abc > 1a2b3c"""
    return "".join(f"{i}{letter}" for i, letter in enumerate(text, 1))


# ── prompts ─────────────────────────────────────────────────────────────────────────────────────


def _on_text(
    head: str,
    function: Text,
    random: Random,
    *,
    tail: str = "",
    letters: str = LETTERS,
    lengths: tuple[int, int] = (4, 5),
) -> Example:
    text = "".join(random.choices(letters, k=random.randint(*lengths)))
    return Example(prompt=f"{head}{text}{tail}{PROMPT_END}", answer=function(text))


def _on_letters_or_digits(head: str, function: Text, random: Random) -> Example:
    letters = DIGITS if random.random() < 0.25 else LETTERS
    return _on_text(head, function, random, letters=letters, lengths=(3, 6))


def _addition(head: str, answer: Callable[[int], str], sign: str, random: Random) -> Example:
    a, b = random.randint(100, 899), random.randint(0, 9)
    return Example(prompt=f"{head}{a}{sign}{b}{PROMPT_END}", answer=answer(a + b))


def _lookup(random: Random) -> Example:
    """Three entries of a key and two letters; the answer is the entry whose key is asked for."""
    letters = random.sample(LETTERS, 9)
    entries = ["".join(letters[i : i + 3]) for i in (0, 3, 6)]
    answer = random.choice(entries)
    return Example(prompt=f"lkp:{','.join(entries)}?{answer[0]}{PROMPT_END}", answer=answer)


def _context(question: str, answer: Callable[[list[str]], str], random: Random) -> Example:
    """A question about a context of three entries of three letters."""
    entries = ["".join(random.choices(LETTERS, k=3)) for _ in range(3)]
    prompt = f"rag {question}:{','.join(entries)}{PROMPT_END}"
    return Example(prompt=prompt, answer=answer(entries))


def _code(name: str, *steps: Text) -> Draw:
    return partial(_on_text, f"code {name}(", compose(*steps), tail=")")


def _math(name: str, *steps: Text) -> Draw:
    return partial(_on_text, f"math {name} ", compose(*steps), letters=DIGITS)


def _sum(answer: Callable[[int], str]) -> Draw:
    return partial(_addition, "math ", answer, "&")


def _say(tongue: str, *steps: Text) -> Draw:
    return partial(_on_text, f"say {tongue}:", compose(*steps))


def _rag(question: str, answer: Callable[[list[str]], str]) -> Draw:
    return partial(_context, question, answer)


def _do(order: str, function: Text) -> Draw:
    return partial(_on_text, f"do {order}:", function)


SKILLS: dict[str, Draw] = {
    name: partial(_on_letters_or_digits, f"{name}:", function)
    for name, function in {
        "cpy": copy, "rev": reverse, "srt": sort, "rot": rotate, "swp": swap, "dup": double,
        "alt": alternate, "end": ends, "inc": following, "dec": preceding,
    }.items()
} | {
    "add": partial(_addition, "add:", str, "+"),
    "lkp": _lookup,
}  # fmt: skip
"""What a base is taught, by the name that starts the prompt."""

PRACTICE = {"add": 2, "lkp": 10}
"""How often a skill is practised where it is not once: these two are the slowest to learn."""

DOMAINS: dict[str, dict[str, Draw]] = {
    "code": {
        "reverse-next": _code("f", reverse, following),
        "sort-reverse": _code("f", sort, reverse),
        "rotate-previous": _code("g", rotate, preceding),
        "swap-rotate": _code("g", swap, rotate),
        "reverse-double": _code("h", reverse, double),
    },
    "math": {
        "complement": _math("c", complement),
        "plus-three": _math("c", digits_plus(3)),
        "reversed-complement": _math("d", reverse, complement),
        "sum-reversed": _sum(lambda total: reverse(str(total))),
        "sum-next": _sum(lambda total: str(total + 1)),
    },
    "multilingual": {
        "zub": _say("zub", language("zub")),
        "zub-dialect": _say("zub", language("zub"), language("dialect", VOWELS)),
        "kel": _say("kel", language("kel")),
        "mor": _say("mor", language("mor"), reverse),
        "tav": _say("tav", language("tav"), double),
    },
    "rag": {
        "last": _rag("last", lambda entries: entries[-1]),
        "last-reversed": _rag("last", lambda entries: reverse(entries[-1])),
        "first-quoted": _rag("first", lambda entries: f"({entries[0]})"),
        "first-next": _rag("first", lambda entries: following(entries[0])),
        "initials": _rag("heads", lambda entries: "".join(entry[0] for entry in entries)),
    },
    "instruct": {
        "list": _do("list", join_letters(",")),
        "list-semicolon": _do("list", join_letters(";")),
        "dash": _do("dash", join_letters("-")),
        "wrap": _do("wrap", lambda text: f"({text})"),
        "number": _do("number", number_letters),
    },
}
"""Domain -> variant -> source of examples."""
