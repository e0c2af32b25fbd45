"""The tree of a plan: where each model and merge stands, and what is written at it."""

from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.errors import OutputError
from simmerge_hub.publishing import merge_tree, picture
from simmerge_hub.recipe import Recipe, Source, Step
from simmerge_hub.recipe.why import Aim, Why, WhyStep, WhyTask

Words = dict[str, tuple[float, float]]
NAMES = ("a", "b", "c", "a-model-whose-name-is-much-too-long-for-its-box-" + "x" * 40)
STEPS = (
    Step(name="ab", operator="linear", models=("a", "b"), parameters={}),
    Step(name="cd", operator="slerp", models=NAMES[2:], parameters={"t": 0.4}),
    Step(
        name="all", operator="ties", models=("ab", "cd"),
        parameters={"density": 0.2, "weights": (0.75, 0.25), "normalize": True},
    ),
)  # fmt: skip
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
    steps=(WhyStep(step="ab", tasks={"code": (0.5, 0.2, 0.8), "math": (0.25, 0.1, 0.4)}),),
)


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Words:
    """Text -> where it is written, by column and row."""
    written: Words = {}

    def text(axes: Any, x: float, y: float, text: str, **look: Any) -> Any:
        written[text] = (x, y)
        return original(axes, x, y, text, **look)

    from matplotlib.axes import Axes

    original = Axes.text
    monkeypatch.setattr(Axes, "text", text)
    merge_tree.draw(RECIPE, WHY, tmp_path / "tree.svg")
    return written


def test_a_merge_stands_right_of_and_between_what_it_merges(words: Words) -> None:
    places = {text.partition("\n")[0]: place for text, place in words.items()}
    assert [places[name] for name in "abc"] == [(0, 0), (0, 1), (0, 2)]
    assert places["linear"] == (1, 0.5)
    assert places["slerp (t 0.4)"] == (1, 2.5)
    assert places["ties (density 0.2)"] == (2, 1.5)


def test_merges_say_their_utilities_and_experts_their_tasks(words: Words) -> None:
    assert "linear\ncode 0.50\nmath 0.25" in words
    assert {"a\n(code, rag)", "b\n(math)", "c"} <= words.keys()


def test_weights_stand_on_the_lines(words: Words) -> None:
    """Those that are given, and the equal ones of a mean; of slerp there are none."""
    shares = {text: place for text, place in words.items() if text.replace(".", "").isdigit()}
    assert shares.keys() == {"0.50", "0.75", "0.25"}
    assert shares["0.50"] == pytest.approx((0.45, 0.775))  # on the way from b to the mean
    assert shares["0.75"][1] < shares["0.25"][1]


def test_a_long_name_is_cut(words: Words) -> None:
    (cut,) = [text for text in words if text.endswith("…")]
    assert len(cut) == picture.LETTERS_SHOWN
    assert NAMES[3].startswith(cut[:-1])


@pytest.mark.parametrize("name", ["tree.txt", "nowhere/tree.png"])
def test_what_cannot_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        merge_tree.draw(RECIPE, WHY, tmp_path / name)
    assert not list(tmp_path.iterdir())
