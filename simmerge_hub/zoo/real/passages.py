"""Questions about a short passage: the fact asked for stands among others like it, or does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from simmerge_hub.zoo.real.numbers import NAMES
from simmerge_hub.zoo.tasks import Draw, Example

PEOPLE = (*NAMES, "Max", "Nora", "Otto", "Pia")
CITIES = (
    "Rome", "Oslo", "Lima", "Cairo", "Paris", "Delhi", "Tokyo", "Berlin", "Madrid", "Sydney",
    "Dublin", "Athens",
)  # fmt: skip
JOBS = ("baker", "nurse", "pilot", "farmer", "teacher", "singer", "doctor", "driver", "lawyer")
BOXES = ("red", "blue", "green", "black", "white", "yellow", "brown", "grey")
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class _Fact:
    """A sentence, the question that asks for it, and what answers it."""

    sentence: str
    question: str
    value: str


def _home(who: str, random: Random) -> _Fact:
    place = random.choice(CITIES)
    return _Fact(f"{who} lives in {place}.", f"Where does {who} live?", place)


def _job(who: str, random: Random) -> _Fact:
    job = random.choice(JOBS)
    return _Fact(f"{who} is a {job}.", f"What is the job of {who}?", job)


def _age(who: str, random: Random) -> _Fact:
    age = str(random.randint(11, 89))
    return _Fact(f"{who} is {age} years old.", f"How old is {who}?", age)


def _facts(random: Random) -> list[_Fact]:
    """Three facts about three people, of at least two kinds."""
    people = random.sample(PEOPLE, 3)
    makers = random.sample((_home, _job, _age, _home, _job), 3)
    return [make(who, random) for who, make in zip(people, makers, strict=True)]


def _write_prompt(facts: list[_Fact], question: str) -> str:
    return f"{' '.join(fact.sentence for fact in facts)}\n{question}\nAnswer:"


def _person(answer: Callable[[_Fact], str], random: Random) -> Example:
    """What the passage says about one of three people."""
    facts = _facts(random)
    wanted = random.choice(facts)
    return Example(prompt=_write_prompt(facts, wanted.question), answer=answer(wanted))


def _maybe(random: Random) -> Example:
    """The same, but half of the questions are about a fact that was left out."""
    facts = _facts(random)
    wanted = random.choice(facts)
    if random.random() < 0.5:
        return Example(prompt=_write_prompt(facts, wanted.question), answer=f" {wanted.value}")
    who = random.choice([*(fact.sentence.split()[0] for fact in facts), *random.sample(PEOPLE, 3)])
    other = random.choice((_home, _job, _age))(who, random)
    facts = [fact for fact in facts if fact.question != other.question]
    return Example(prompt=_write_prompt(facts, other.question), answer=f" {NOT_STATED}")


def _who(answer: Callable[[str, _Fact], str], random: Random) -> Example:
    """Which of three people a fact is about."""
    people = random.sample(PEOPLE, 3)
    make = random.choice((_home, _job))
    facts: list[_Fact] = []
    for who in people:
        fact = make(who, random)
        while any(fact.value == known.value for known in facts):
            fact = make(who, random)
        facts.append(fact)
    at = random.randrange(3)
    said = facts[at].sentence.removeprefix(people[at]).rstrip(".")
    return Example(prompt=_write_prompt(facts, f"Who{said}?"), answer=answer(people[at], facts[at]))


def _code(answer: Callable[[int, int, int], str], random: Random) -> Example:
    """The number on one of three boxes."""
    colours = random.sample(BOXES, 3)
    codes = [random.randint(100, 999) for _ in colours]
    listed = ", ".join(f"{c} box {n}" for c, n in zip(colours, codes, strict=True))
    at = random.randrange(3)
    prompt = f"Codes: {listed}.\nCode of the {colours[at]} box:"
    return Example(prompt=prompt, answer=answer(codes[at], at, len(codes)))


VARIANTS: dict[str, Draw] = {
    "person": partial(_person, lambda fact: f" {fact.value}"),
    "person-sentence": partial(_person, lambda fact: f" {fact.sentence}"),
    "person-capitals": partial(_person, lambda fact: f" {fact.value.upper()}!"),
    "not-stated": _maybe,
    "who": partial(_who, lambda who, fact: f" {who}"),
    "code": partial(_code, lambda code, place, of: f" {code}"),
    "code-place": partial(_code, lambda code, place, of: f" {code} ({place + 1} of {of})"),
}
"""`person-` and `code-` share the prompts of `person` and `code` and answer otherwise."""
