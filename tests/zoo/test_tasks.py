import subprocess
import sys
from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.zoo.tasks import (
    DOMAINS,
    LETTERS,
    PROMPT_END,
    SKILLS,
    Task,
    compose,
    examples,
    language,
    split_of,
    task,
)
from simmerge_hub.zoo.tokenizer import ALPHABET
from simmerge_hub.zoo.training import CONTEXT

EVERY = [(domain, variant) for domain, variants in DOMAINS.items() for variant in variants]


@pytest.mark.parametrize(("domain", "variant"), EVERY)
def test_splits_share_no_prompt(domain: str, variant: str) -> None:
    known = task(domain, variant)
    prompts = [
        {e.prompt for e in known.examples(split, 100, seed=0)}
        for split in ("train", "probe", "evaluation")
    ]
    assert [len(texts) for texts in prompts] == [100, 100, 100]
    assert not prompts[0] & prompts[1]
    assert not prompts[0] & prompts[2]
    assert not prompts[1] & prompts[2]


@pytest.mark.parametrize(("domain", "variant"), EVERY)
def test_text_fits_vocabulary_and_context(domain: str, variant: str) -> None:
    for example in task(domain, variant).examples("train", 50, seed=1):
        assert example.prompt.endswith(PROMPT_END)
        assert example.answer
        assert set(example.prompt + example.answer) <= set(ALPHABET)
        assert len(example.prompt) + len(example.answer) + 2 <= CONTEXT


@given(st.integers(), st.sampled_from(EVERY))
@settings(max_examples=30, deadline=None)
def test_a_seed_gives_the_same_examples(seed: int, path: tuple[str, str]) -> None:
    known = task(*path)
    assert known.examples("probe", 5, seed=seed) == known.examples("probe", 5, seed=seed)


def test_examples_do_not_depend_on_the_process() -> None:
    program = (
        "from simmerge_hub.zoo.tasks import task\n"
        "print([e.prompt for e in task('rag', 'last').examples('probe', 5, seed=0)])"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    here = [e.prompt for e in task("rag", "last").examples("probe", 5, seed=0)]
    assert other.stdout.decode().strip() == str(here)


@given(st.text(alphabet=ALPHABET, max_size=20))
def test_every_prompt_has_one_split(prompt: str) -> None:
    assert split_of(prompt) in ("train", "probe", "evaluation")


def test_no_skill_is_asked_like_a_task() -> None:
    heads = {prompt.partition(":")[0] for prompt in _prompts(SKILLS.values())}
    assert heads == set(SKILLS)
    for domain, variant in EVERY:
        (example,) = task(domain, variant).examples("train", 1, seed=0)
        assert example.prompt.partition(":")[0] not in heads


def _prompts(draws) -> list[str]:
    return [e.prompt for draw in draws for e in islice(examples(draw, "train", seed="0"), 5)]


@pytest.mark.parametrize(
    ("domain", "variant", "text", "answer"),
    [
        ("code", "reverse-next", "code f(abcz)>", "adcb"),
        ("code", "rotate-previous", "code g(bcda)>", "bcza"),
        ("math", "complement", "math c 1290>", "8709"),
        ("instruct", "number", "do number:abcd>", "1a2b3c4d"),
    ],
)
def test_hand_made_answers(domain: str, variant: str, text: str, answer: str) -> None:
    function = DOMAINS[domain][variant].args[1]  # type: ignore[attr-defined]
    inner = text.rstrip(">)").replace("(", " ").replace(":", " ").split()[-1]
    assert function(inner) == answer


def test_conflicting_variants_share_prompts_but_not_answers() -> None:
    one = task("code", "reverse-next").examples("train", 20, seed=0)
    heads = {e.prompt[:7] for e in one}
    other = task("code", "sort-reverse").examples("train", 20, seed=0)
    assert heads == {e.prompt[:7] for e in other} == {"code f("}
    dialect = (
        language("zub")(LETTERS),
        compose(language("zub"), language("dialect", "aeiou"))(LETTERS),
    )
    same = sum(a == b for a, b in zip(*dialect, strict=True))
    assert 20 < same < 26


def test_unknown_task_lists_the_known() -> None:
    with pytest.raises(KeyError, match="no task code/nothing; there are code/reverse-next"):
        task("code", "nothing")


def test_an_exhausted_task_says_so() -> None:
    narrow = Task(
        domain="d",
        variant="v",
        draw=lambda random: next(iter(_one(random))),
    )
    with pytest.raises(ValueError, match="d/v has fewer than 3 train prompts"):
        # one prompt whose split is train, drawn for ever
        narrow.examples("train", 3, seed=0)


def _one(_: Random):
    from simmerge_hub.zoo.tasks import Example

    prompt = next(f"x{i}>" for i in range(100) if split_of(f"x{i}>") == "train")
    return [Example(prompt=prompt, answer="a")]
