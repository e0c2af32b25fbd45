"""Math in words: sums, word problems, units, dates. One line of prompt, a short answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from simmerge_hub.zoo.tasks import Draw, Example

NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Joy", "Kim", "Lea")
THINGS = ("apples", "books", "coins", "eggs", "pens", "stamps", "shells", "cards", "nuts", "keys")
UNITS = (
    ("m", "cm", 100), ("km", "m", 1000), ("kg", "g", 1000), ("cm", "mm", 10), ("h", "min", 60),
    ("min", "s", 60), ("l", "ml", 1000), ("days", "h", 24), ("weeks", "days", 7),
)  # fmt: skip
"""Larger unit, smaller unit, how many of the smaller make one of the larger."""
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Days of each month, in a year that is no leap year."""
SPELLED = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def spell(number: int) -> str:
    """47 -> forty-seven, for 0 to 99."""
    if number < len(SPELLED):
        return SPELLED[number]
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (f"-{SPELLED[ones]}" if ones else "")


def _arithmetic(answer: Callable[[int], str], random: Random) -> Example:
    """12 + 30, 45 - 7 or 6 * 8; the result is 0 to 99."""
    sign = random.choice("+-*")
    if sign == "*":
        a, b = random.randint(2, 9), random.randint(2, 9)
        total, shown = a * b, f"{a} * {b}"
    else:
        a, b = random.randint(1, 80), random.randint(1, 80)
        a, b = (min(a, 99 - b), b) if sign == "+" else (max(a, b), min(a, b))
        a = max(a, 1)
        total, shown = (a + b if sign == "+" else a - b), f"{a} {sign} {b}"
    return Example(prompt=f"Calculate {shown} =", answer=answer(total))


def _problem(answer: Callable[[int, str], str], random: Random) -> Example:
    """One step of adding, taking away or sharing out, told as a story."""
    who, other = random.sample(NAMES, 2)
    thing = random.choice(THINGS)
    a, b = random.randint(2, 9), random.randint(2, 9)
    big = a + b + random.randint(1, 20)
    told, total = random.choice((
        (f"{who} has {big} {thing} and gets {b} more from {other}.", big + b),
        (f"{who} has {big} {thing} and gives {b} to {other}.", big - b),
        (f"{who} fills {a} bags with {b} {thing} each.", a * b),
        (f"{who} shares {a * b} {thing} among {a} friends.", b),
    ))  # fmt: skip
    asked = f"How many {thing} in the end?" if "has" in told else f"How many {thing}"
    if "fills" in told:
        asked += " in all?"
    elif "shares" in told:
        asked += " does each get?"
    return Example(prompt=f"{told} {asked}\nAnswer:", answer=answer(total, thing))


def _unit(answer: Callable[[int, str], str], random: Random) -> Example:
    """From the larger unit to the smaller one, or back."""
    large, small, factor = random.choice(UNITS)
    count = random.randint(2, 60)
    if random.random() < 0.5:
        asked, result, unit = f"{count} {large} in {small}", count * factor, small
    else:
        asked, result, unit = f"{count * factor} {small} in {large}", count, large
    return Example(prompt=f"Convert {asked}:", answer=answer(result, unit))


def _date(step: int, answer: Callable[[int, int], str], random: Random) -> Example:
    """The date some days after another one."""
    month = random.randrange(12)
    day, days = random.randint(1, LENGTHS[month]), random.randint(2, 20)
    later, its_month = day + days * step, month
    if later > LENGTHS[month]:
        later, its_month = later - LENGTHS[month], (month + 1) % 12
    elif later < 1:
        its_month = (month - 1) % 12
        later += LENGTHS[its_month]
    side = "after" if step > 0 else "before"
    prompt = f"What date is {days} days {side} {day} {MONTHS[month]}?\nAnswer:"
    return Example(prompt=prompt, answer=answer(later, its_month))


def _weekday(random: Random) -> Example:
    """The weekday some days after another one."""
    start, days = random.randrange(7), random.randint(2, 30)
    side = random.choice((1, -1))
    word = "after" if side > 0 else "before"
    who = random.choice(NAMES)
    prompt = f"{who} was born on a {DAYS[start]}. Which day is {days} days {word} that?\nAnswer:"
    return Example(prompt=prompt, answer=f" {DAYS[(start + side * days) % 7]}")


VARIANTS: dict[str, Draw] = {
    "arithmetic": partial(_arithmetic, lambda total: f" {total}"),
    "arithmetic-words": partial(_arithmetic, lambda total: f" {spell(total)}"),
    "word-problem": partial(_problem, lambda total, thing: f" {total}"),
    "word-problem-named": partial(_problem, lambda total, thing: f" {spell(total)} {thing}"),
    "unit": partial(_unit, lambda count, unit: f" {count} {unit}"),
    "date": partial(_date, 1, lambda day, month: f" {day} {MONTHS[month]}"),
    "date-numbers": partial(_date, 1, lambda day, month: f" {month + 1:02d}/{day:02d}"),
    "weekday": _weekday,
}
"""`-words`, `-named` and `-numbers` share the prompts of the one before and answer otherwise."""
