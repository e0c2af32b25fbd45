"""The tree of a plan: where each model and merge stands, and what is written at it."""

from dataclasses import replace
from pathlib import Path

import pytest

from simmerge_hub.errors import OutputError
from simmerge_hub.publishing.figures.merge_tree import NAME_LETTERS, can_draw, draw_tree, tell_tree
from simmerge_hub.publishing.figures.paint import write
from simmerge_hub.publishing.figures.shapes import Box, Figure, Text
from simmerge_hub.recipe import Recipe, Source, Step
from simmerge_hub.recipe.why import Aim, Why, WhyStep, WhyTask

NAMES = ("a", "b", "c", "a-model-whose-name-is-much-too-long-for-its-box-" + "x" * 40)
STEPS = (
    Step(name="ab", operator="linear", models=("a", "b"), parameters={}),
    Step(name="cd", operator="slerp", models=NAMES[2:], parameters={"t": 0.4}),
    Step(
        operator="ties", models=("ab", "cd"), parameters={"density": 0.2, "weights": (0.75, 0.25)}
    ),
)
RECIPE = Recipe(
    base=Source(name="base", repo="org/base"),
    models=tuple(Source(name=name, repo="org/m") for name in NAMES),
    steps=STEPS,
)
WHY = Why(
    recipe=RECIPE.fingerprint,
    choice="ties",
    status="calibrated",
    objective=Aim(heading="mean", description="the best mean"),
    reason="Because.",
    coverage=0.9,
    predictor="p",
    predictor_from="the package",
    tasks=tuple(WhyTask(task=t, expert=e) for t, e in (("code", "a"), ("rag", "a"), ("math", "b"))),
    predictions=(),
    tree=("a tree",),
    steps=(
        WhyStep(step="ab", tasks={"code": (0.5, 0.2, 0.8), "math": (0.25, 0.1, 0.4)}),
        WhyStep(step="", tasks={"rag": (0.75, 0.2, 0.8)}),
    ),
)


@pytest.fixture
def figure() -> Figure:
    return draw_tree(RECIPE, WHY)


def boxes(figure: Figure) -> dict[str, Box]:
    """The boxes of models and merges, by the text in them."""
    texts = [shape for shape in figure.shapes if isinstance(shape, Text)]
    inside: dict[str, Box] = {}
    for box in (shape for shape in figure.shapes if isinstance(shape, Box) and shape.edge):
        (x, y), (wide, tall) = box.at, box.size
        lines = [t.text for t in texts if x < t.at[0] < x + wide and y < t.at[1] < y + tall]
        inside["\n".join(lines)] = box
    return inside


def middle(box: Box) -> float:
    return box.at[1] + box.size[1] / 2


def test_merges_say_what_they_keep_and_experts_their_tasks(figure: Figure) -> None:
    written = list(boxes(figure))
    assert {"a\nexpert at code\nexpert at rag", "b\nexpert at math", "c"} <= set(written)
    assert "plain average\n50 % of code\n25 % of math" in written
    assert "TIES (density 0.2)\n75 % of rag" in written


def test_a_merge_stands_right_of_and_between_what_it_merges(figure: Figure) -> None:
    by_name = {text.partition("\n")[0]: box for text, box in boxes(figure).items()}
    a, b, ab = by_name["a"], by_name["b"], by_name["plain average"]
    last = by_name["TIES (density 0.2)"]
    assert a.at[0] + a.size[0] < ab.at[0] < ab.at[0] + ab.size[0] < last.at[0]
    assert middle(a) < middle(ab) < middle(b)
    assert middle(ab) == pytest.approx((middle(a) + middle(b)) / 2)


TWICE = (
    Step(name="one", operator="linear", models=("a", "b"), parameters={}),
    Step(name="two", operator="ties", models=("a", "b"), parameters={"density": 0.2}),
    Step(name="three", operator="slerp", models=("b", "c"), parameters={"t": 0.4}),
    Step(operator="linear", models=("one", "two", "three"), parameters={"normalize": False}),
)
"""Steps of the same two models, and one whose middle lies close to theirs."""


@pytest.mark.parametrize("steps", [STEPS, TWICE], ids=["a tree", "steps of the same"])
def test_no_box_covers_another_and_all_lie_inside(steps: tuple[Step, ...]) -> None:
    figure = draw_tree(replace(RECIPE, steps=steps), None if steps is TWICE else WHY)
    placed = [box for box in figure.shapes if isinstance(box, Box) and box.edge]
    assert len(placed) == 7
    for one in placed:
        assert one.at[0] > 0 and one.at[0] + one.size[0] < figure.size[0]
        assert one.at[1] > 0 and one.at[1] + one.size[1] < figure.size[1]
        for other in placed:
            beside = any(
                one.at[i] + one.size[i] <= other.at[i] or other.at[i] + other.size[i] <= one.at[i]
                for i in (0, 1)
            )
            assert beside or one is other


def test_weights_stand_on_the_lines(figure: Figure) -> None:
    """Those that are given, and the equal ones of a mean; of slerp there are none."""
    numbers = [s.text for s in figure.shapes if isinstance(s, Text) and s.text[:2] == "0."]
    assert sorted(numbers) == ["0.25", "0.50", "0.50", "0.75"]


def test_a_long_name_is_cut(figure: Figure) -> None:
    (cut,) = [s.text for s in figure.shapes if isinstance(s, Text) and s.text.endswith("…")]
    assert len(cut) == NAME_LETTERS
    assert NAMES[3].startswith(cut[:-1])


def test_the_words_say_the_same() -> None:
    assert tell_tree(RECIPE, WHY) == (
        "Merge tree: plain average of a (0.50) and b (0.50) gives ab, which should keep 50 % of "
        f"code, 25 % of math; SLERP (t 0.4) of c and {NAMES[3]} gives cd; TIES (density 0.2) of ab "
        "(0.75) and cd (0.25) gives the merge, which should keep 75 % of rag."
    )
    assert draw_tree(RECIPE, WHY).words == tell_tree(RECIPE, WHY)


def test_what_nobody_could_read_is_not_drawn() -> None:
    assert can_draw(RECIPE)
    chain = tuple(
        Step(name=f"s{n}", operator="linear", models=("a", "b"), parameters={}) for n in range(61)
    )
    assert not can_draw(replace(RECIPE, steps=chain))


@pytest.mark.parametrize("name", ["tree.txt", "nowhere/tree.png"])
def test_what_cannot_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write(draw_tree(RECIPE, WHY), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "start"), [("a.svg", b"<svg"), ("a.png", b"\x89PNG"),
                                             ("a.pdf", b"%PDF")])  # fmt: skip
def test_kinds_of_files(name: str, start: bytes, tmp_path: Path) -> None:
    write(draw_tree(RECIPE, WHY), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
