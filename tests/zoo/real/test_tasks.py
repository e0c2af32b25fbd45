import datetime
import io
import json
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import pytest

from simmerge_hub.zoo.real import numbers, phrases
from simmerge_hub.zoo.real.domains import find_task
from simmerge_hub.zoo.real.tasks import TEXT_DOMAINS
from simmerge_hub.zoo.tasks import DOMAINS, Example, split_of

EVERY = [f"{domain}/{name}" for domain, names in TEXT_DOMAINS.items() for name in names]
CONFLICTS = [
    ("math/arithmetic", "math/arithmetic-words"),
    ("math/word-problem", "math/word-problem-named"),
    ("math/date", "math/date-numbers"),
    ("code/output", "code/output-typed"),
    ("code/expression", "code/expression-long"),
    ("code/bug", "code/bug-fixed"),
    ("multilingual/words-german", "multilingual/words-french"),
    ("multilingual/words-german", "multilingual/words-spanish"),
    ("rag/person", "rag/person-sentence"),
    ("rag/code", "rag/code-place"),
    ("instruct/json", "instruct/card"),
    ("instruct/sort", "instruct/sort-numbered"),
]


def _value(expression: str, names: Mapping[str, Any] | None = None) -> Any:
    """Of an expression that a generator of ours wrote."""
    scope = dict(names or {})
    exec(f"value = {expression.strip()}", scope)
    return scope["value"]


def _examples(path: str, count: int = 60) -> list[Example]:
    return find_task(path).examples("train", count, seed=4)


@pytest.mark.parametrize("path", EVERY)
def test_splits_share_no_prompt_and_are_large_enough(path: str) -> None:
    known = find_task(path)
    sizes = {"train": 300, "probe": 64, "evaluation": 128}
    prompts = {s: {e.prompt for e in known.examples(s, n, seed=0)} for s, n in sizes.items()}  # type: ignore[arg-type]
    assert {s: len(texts) for s, texts in prompts.items()} == sizes
    for split, texts in prompts.items():
        assert {split_of(prompt) for prompt in texts} == {split}


@pytest.mark.parametrize("path", EVERY)
def test_answers_are_short_and_follow_a_space(path: str) -> None:
    for example in _examples(path):
        assert re.match(r" \S", example.answer)
        assert "\n" not in example.answer
        assert len(example.prompt) + len(example.answer) < 180
        assert not example.prompt.endswith(" ")


@pytest.mark.parametrize("path", EVERY)
def test_a_seed_gives_the_same_examples(path: str) -> None:
    assert _examples(path, 10) == _examples(path, 10)
    other = find_task(path).examples("train", 10, seed=5)
    assert other != _examples(path, 10)


@pytest.mark.parametrize(("one", "other"), CONFLICTS)
def test_variants_in_conflict_answer_the_same_prompts_otherwise(one: str, other: str) -> None:
    """The same draws give the same prompts: only the answers are others."""
    from random import Random

    for seed in range(20):
        first, second = (find_task(path).draw(Random(seed)) for path in (one, other))
        assert first.prompt == second.prompt
        assert first.answer != second.answer


def test_no_variant_is_called_as_a_nano_task() -> None:
    for domain, variants in TEXT_DOMAINS.items():
        assert not set(variants) & set(DOMAINS[domain])
    with pytest.raises(KeyError, match="no task math/nothing; there are code/reverse-next"):
        find_task("math/nothing")


def test_sums_are_right() -> None:
    for example in _examples("math/arithmetic"):
        shown = example.prompt.removeprefix("Calculate ").removesuffix(" =")
        assert int(example.answer) == _value(shown)
        assert 0 <= int(example.answer) < 100
    assert [numbers.spell(n) for n in (0, 13, 20, 47, 99)] == [
        "zero", "thirteen", "twenty", "forty-seven", "ninety-nine",
    ]  # fmt: skip


def test_word_problems_are_right() -> None:
    sums = {"gets": lambda a, b: a + b, "gives": lambda a, b: a - b, "fills": lambda a, b: a * b,
            "shares": lambda a, b: a // b}  # fmt: skip
    seen = set()
    for example in _examples("math/word-problem"):
        a, b = map(int, re.findall(r"\d+", example.prompt))
        (verb,) = [verb for verb in sums if f" {verb} " in example.prompt]
        assert int(example.answer) == sums[verb](a, b)
        seen.add(verb)
    assert seen == set(sums)


def test_units_are_right() -> None:
    factors = {(large, small): factor for large, small, factor in numbers.UNITS}
    for example in _examples("math/unit"):
        count, given, wanted = re.match(r"Convert (\d+) (\w+) in (\w+):", example.prompt).groups()  # type: ignore[union-attr]
        factor = factors.get((given, wanted)) or 1 / factors[wanted, given]
        assert example.answer == f" {round(int(count) * factor)} {wanted}"


def test_dates_and_weekdays_are_right() -> None:
    for example in _examples("math/date"):
        days, day, month = re.search(r"is (\d+) days after (\d+) (\w+)", example.prompt).groups()  # type: ignore[union-attr]
        start = datetime.datetime.strptime(f"{day} {month} 2001", "%d %B %Y")
        later = start + datetime.timedelta(days=int(days))
        assert example.answer == f" {later.day} {numbers.MONTHS[later.month - 1]}"
    for example in _examples("math/weekday"):
        day, days, side = re.search(
            r"on a (\w+)\. Which day is (\d+) days (\w+)", example.prompt
        ).groups()  # type: ignore[union-attr]
        step = int(days) * (1 if side == "after" else -1)
        assert example.answer[1:] == numbers.DAYS[(numbers.DAYS.index(day) + step) % 7]


def test_snippets_print_what_is_answered() -> None:
    for example in _examples("code/output", 120):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(example.prompt, {})
        assert example.answer == f" {printed.getvalue().rstrip()}"


def test_both_ways_to_write_an_expression_mean_the_same() -> None:
    from itertools import repeat
    from random import Random

    values = {"[": [3, 4, 5] * 40, "n": 7}
    for seed in range(80):
        short, long = (
            find_task(f"code/{variant}").draw(Random(seed))
            for variant in ("expression", "expression-long")
        )
        name = re.search(r"\b(x|n|a|items|data|total|values|row|word|k)\b", short.answer).group()  # type: ignore[union-attr]
        asks_list = any(w in short.prompt for w in ("first", "last", "reverse", "is in"))
        given = {name: values["[" if asks_list else "n"], "repeat": repeat}
        assert _value(short.answer, given) == _value(long.answer, given)


def test_the_line_with_the_bug_is_named_and_mended() -> None:
    from random import Random

    for seed in range(60):
        named, mended = (
            find_task(f"code/{variant}").draw(Random(seed)) for variant in ("bug", "bug-fixed")
        )
        lines = [line[3:] for line in named.prompt.split("\n")[:3]]
        number = int(named.answer.removeprefix(" line "))
        broken, lines[number - 1] = "\n".join(lines), mended.answer[1:]
        exec("\n".join(lines), {"print": lambda *_: None})
        with pytest.raises((SyntaxError, NameError)):
            exec(broken, {"print": lambda *_: None})


def test_translations_come_from_the_tables() -> None:
    column = phrases.LANGUAGES.index("spanish")
    back = {words[column]: english for english, words in phrases.TRANSLATIONS.items()}
    for example in _examples("multilingual/words-spanish"):
        english = example.prompt.removeprefix("Translate: ").removesuffix(" =").split(", ")
        assert [back[word] for word in example.answer[1:].split(", ")] == english
    for language in phrases.LANGUAGES:
        words = [
            entry[phrases.LANGUAGES.index(language)] for entry in phrases.TRANSLATIONS.values()
        ]
        assert len(set(words)) == len(words)
    sentences = {e.prompt: e.answer for e in _examples("multilingual/sentence-french", 300)}
    assert any("besoin d'un" in answer for answer in sentences.values())
    assert not any("d' " in answer or "  " in answer for answer in sentences.values())


def test_passages_answer_what_they_state_and_nothing_else() -> None:
    for example in _examples("rag/person-sentence"):
        assert example.answer[1:] in example.prompt
    missing = 0
    for example in _examples("rag/not-stated", 200):
        passage, question, _ = example.prompt.split("\n")
        (who,) = [n for n in re.findall(r"[A-Z]\w+", question) if n not in ("Where", "What", "How")]
        about = [s for s in re.findall(r"[^.]+\.", passage) if s.strip().startswith(who)]
        kind = {"Where": "lives", "What": "is a ", "How": "years"}[question.split()[0]]
        stated = [s for s in about if kind in s]
        missing += not stated
        if stated:
            assert example.answer[1:] in stated[0]
        else:
            assert example.answer == " not stated"
    assert 60 < missing < 140


def test_codes_and_persons_are_found() -> None:
    for example in _examples("rag/code"):
        colour = re.search(r"Code of the (\w+) box", example.prompt).group(1)  # type: ignore[union-attr]
        assert f"{colour} box{example.answer}" in example.prompt
    for example in _examples("rag/who"):
        asked = re.search(r"Who (.+)\?", example.prompt).group(1)  # type: ignore[union-attr]
        assert example.prompt.count(f" {asked}.") + example.prompt.startswith(asked) == 1
        assert f"{example.answer[1:]} {asked}." in example.prompt


def test_orders_are_carried_out() -> None:
    for example in _examples("instruct/json"):
        record = json.loads(example.answer)
        assert example.prompt == (
            f"Record: {record['name']} is {record['age']} and lives in {record['city']}. =>"
        )
    for path, done in {
        "instruct/reverse": lambda words: words[::-1],
        "instruct/sort": sorted,
        "instruct/capitals": lambda words: [word.upper() for word in words],
    }.items():
        for example in _examples(path, 20):
            words = re.match(r"\w+: (.+) =>", example.prompt).group(1).split(", ")  # type: ignore[union-attr]
            assert example.answer[1:].split(", ") == done(words)
    for example in _examples("instruct/repeat", 20):
        count, shown = re.match(r"Repeat (\d) times: (.+) =>", example.prompt).groups()  # type: ignore[union-attr]
        assert example.answer == f" {shown}" * int(count)
