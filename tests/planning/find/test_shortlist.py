"""The best few for every task, and what those that are passed over are told."""

import pytest

from simmerge_hub.errors import ProbeError
from simmerge_hub.planning.ask.options import Tasks
from simmerge_hub.planning.find.shortlist import NO_SCORE, Shortlist, shorten
from tests.planning.ask.test_tasks import model


def names(short: Shortlist) -> list[str]:
    return [m.name.partition("/")[2] for m in short.models]


MATHS = [model(f"math-{n}", gsm8k=0.9 - n / 100) for n in range(6)]
CODES = [model(f"code-{n}", humaneval=0.5 - n / 100) for n in range(3)]


def test_tasks_take_turns() -> None:
    short = shorten([*MATHS, *CODES], 5)
    assert names(short) == ["math-0", "math-1", "math-2", "code-0", "code-1"]
    assert short.passed == {
        "org/math-3": "3 others state better scores on math",
        "org/math-4": "4 others state better scores on math",
        "org/math-5": "5 others state better scores on math",
        "org/code-2": "2 others state better scores on code",
    }
    assert {t.name: t.expert for t in short.tasks} == {"math": "org/math-0", "code": "org/code-0"}


def test_what_is_far_from_the_best_is_not_taken() -> None:
    weak = model("weak", gsm8k=0.3, humaneval=0.1)
    short = shorten([MATHS[0], weak, CODES[0]], 12)
    assert names(short) == ["math-0", "code-0"]
    assert short.passed == {"org/weak": "1 other states a better score on math"}


def test_no_score_is_no_reason_to_take_it() -> None:
    short = shorten([*MATHS[:2], model("silent"), CODES[0]], 12)
    assert short.passed == {"org/silent": NO_SCORE}


def test_a_task_without_room_is_left_out() -> None:
    short = shorten([MATHS[0], CODES[0], model("rag", squad=0.8)], 2)
    assert names(short) == ["math-0", "code-0"]
    assert short.dropped == {
        "rag": "the shortlist of 2 has no room for its best model: --shortlist 3"
    }
    assert short.passed == {"org/rag": "is the best on rag by its card, and the shortlist is full"}
    assert [task.name for task in short.tasks] == ["math", "code"]


def test_named_experts_are_always_taken() -> None:
    silent = model("silent")
    short = shorten([*MATHS, silent], 1, Tasks(experts={"code": "org/silent", "math": "math-5"}))
    assert names(short) == ["math-5", "silent"]
    assert (
        short.passed["org/math-0"] == "is the best on math by its card, and the shortlist is full"
    )
    assert short.passed["org/math-1"] == "1 other states a better score on math"
    assert [t.name for t in short.tasks] == ["code", "math"]


def test_scores_on_other_tasks_than_those_asked_for() -> None:
    short = shorten([*MATHS[:2], *CODES], 12, Tasks(experts={"math": "math-0"}))
    assert short.passed["org/code-0"] == "its card states scores only for code, not for math"


def test_equal_scores() -> None:
    same = [model(f"m{n}", gsm8k=0.9) for n in range(3)]
    short = shorten([*same, CODES[0]], 3)
    assert short.passed == {"org/m2": "others state as good a score on math"}


def test_a_task_without_probes_ends_nothing() -> None:
    odd = model("odd", mmlu=0.9, gsm8k=0.8)
    short = shorten([odd, CODES[0]], 12)
    assert [t.name for t in short.tasks] == ["math", "code"]
    assert short.dropped["mmlu"].startswith("the card of org/odd names the dataset mmlu")


def test_nothing_to_tell_them_apart() -> None:
    with pytest.raises(ProbeError, match="are too close"):
        shorten([model("a", gsm8k=0.9), model("b", gsm8k=0.9)], 12)


@pytest.mark.parametrize("models", [[], [model("a")], [model("a"), model("b", gsm8k=0.9)]])
def test_fewer_than_two(models: list) -> None:
    assert shorten(models, 12).tasks == ()
