"""What a plan looks like: one screen, all of it where asked; text of others is printed as it is."""

import io
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from rich.console import Console

from simmerge_hub.cli import show
from simmerge_hub.cli.main import main
from simmerge_hub.cli.plan import page as plan_page
from simmerge_hub.cli.plan.page import screen
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.evidence import SAME_PROMPTS
from simmerge_hub.planning.pairs import decide
from simmerge_hub.planning.plan import Plan
from simmerge_hub.planning.tree import steps
from simmerge_hub.planning.verdict import Tried
from simmerge_hub.planning.words.decision import Other
from simmerge_hub.recipe import Recipe, Source
from simmerge_hub.recipe.calibration import Calibration, Prompts
from simmerge_hub.recipe.why import MEANINGS, Status
from simmerge_hub.selector.predictor.measured import pairs, prompts
from simmerge_hub.selector.predictor.ranking import Ranking
from simmerge_hub.units import spell_interval
from tests import rankings
from tests.rankings import DECIDED, FED, LESS, MORE

HOSTILE = "[/x] [red]a[/red]"


def console(monkeypatch: pytest.MonkeyPatch, width: int) -> io.StringIO:
    written = io.StringIO()
    monkeypatch.setattr(show, "OUT", Console(file=written, width=width))
    return written


def ranking(task: str, status: Status = "calibrated", **given: Any) -> Ranking:
    return rankings.ranking(task, status, **{"width": 0.3, "contributions": (DECIDED,)} | given)


def planned(
    *given: Ranking,
    objective: Objective = MEAN,
    experts: tuple[str, ...] = ("org/a", "org/a"),
    **fields: Any,
) -> Plan:
    names = (experts[0], "org/b")
    tasks = dict(zip((each.task for each in given), experts, strict=False))
    inputs = rankings.inputs(tasks, names=names)
    verdict = decide(inputs, {each.task: each for each in given}, objective)
    recipe = Recipe(
        base=None,
        models=tuple(Source(name=name, repo="org/x", commit="0" * 40) for name in names),
        steps=steps(verdict.best.tree),
        dtype="float32",
    )
    plan = Plan(
        recipe=recipe,
        tasks=inputs.tasks,
        probes={},
        verdict=verdict,
        left_out={},
        predictor="0" * 64,
        predictor_from="the package",
        coverage=0.9,
    )
    return replace(plan, **fields)


def fed(first: str, second: str) -> Calibration:
    """What org/a and org/b are fed."""
    given = {"org/a": first, "org/b": second}
    return Calibration(prompts={n: (Prompts(source=s, digest=s),) for n, s in given.items()})


CODE, MATH = "simmerge-hub:code", "simmerge-hub:math"
TOLD = prompts.read()[FED.label].says()
ELSEWHERE = pairs.read(pairs.ANOTHER_FAMILY)
FAMILY = (
    f"on {ELSEWHERE.pairs} pairs of specialists of SmolLM2 135M, another family's model, it "
    f"closed {ELSEWHERE.gains[FED.label]:.2f} by prompts of each one's task"
)


@pytest.mark.parametrize(
    ("first", "second", "status", "said"),
    [(CODE, MATH, "abstained", f"{TOLD}; {FAMILY}"), (CODE, "org/sums", "abstained", FAMILY),
     ("org/strings", "org/sums", "abstained", FAMILY), (CODE, MATH, "calibrated", "")],
)  # fmt: skip
def test_far_from_training_it_says_what_the_prompts_of_a_merge_are_worth(
    first: str, second: str, status: Status, said: str
) -> None:
    """Those of each one's task did better than the package's."""
    plan = planned(ranking("code", status, fed=0.6, linear=0.5))
    bare = plan.decision.why.removesuffix(f"; {FAMILY}")
    plan = replace(plan, recipe=replace(plan.recipe, calibration=fed(first, second)))
    assert plan.best.label == FED.label
    assert plan.decision.why == "; ".join(filter(None, (bare, said)))


def test_where_all_would_be_fed_the_same_it_says_what_to_give() -> None:
    """Merges that look at activations are not among the choices then."""
    plan = planned(ranking("code", ties=0.6, scaled=0.4))
    told = replace(plan.verdict, left_out={FED.label: SAME_PROMPTS})
    assert SAME_PROMPTS not in plan.decision.why
    assert replace(plan, verdict=told).decision.why.endswith(SAME_PROMPTS)


BOTH = (ranking("code", ties=0.6, scaled=0.4), ranking("math", ties=0.1, scaled=0.5))


@pytest.mark.parametrize("width", [80, 120])
def test_what_a_plan_says(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, width)
    plan_page.print_details(planned(*BOTH))
    text = " ".join(out.getvalue().split())
    assert "➜ task_arithmetic(scale=0.7) ◆ │ 0.45 (0.15–0.75)" in text
    assert "The tasks disagree: code alone would take ties(density=0.2) (0.60 against 0.40)" in text
    assert "code: the expert is org/a (as you say)" in text
    assert "over task_arithmetic(scale=0.7) by 0.20, because (with what each adds)" in text
    assert "- the delta is small: +0.08" in text
    assert "calibrated: like the pairs the predictor was calibrated on; the intervals hold" in text
    assert "nearest pair 0.10 away (usual up to 0.25), from 0 = alike to 1 = opposite" in text
    assert "predictor: 000000000000, from the package" in text
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_intervals_of_tasks_give_way_to_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    for width in (80, 120):
        out = console(monkeypatch, width)
        plan_page.print_details(planned(*BOTH))
        shown.append(out.getvalue().partition("➜ ")[2].partition("\n")[0].count("–"))
    assert shown == [1, 3]


def test_the_objective_is_the_first_column(monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 120)
    plan_page.print_details(planned(*BOTH, objective=Objective(worst=True)))
    assert out.getvalue().index("worst") < out.getvalue().index("code")
    assert "│ 0.40 (0.10–0.70) │" in out.getvalue()
    assert "best worst task of code, math of 2 merges: 0.40" in " ".join(out.getvalue().split())


def test_an_arm_that_keeps_too_little_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 120)
    plan_page.print_details(planned(*BOTH, objective=Objective(keep={"code": 0.5})))
    assert "➜ ties(density=0.2)" in out.getvalue()
    assert "✗ task_arithmetic(scale=0.7)" in out.getvalue()
    assert "✗ keeps less than is asked for" in out.getvalue()


@pytest.mark.parametrize("status", ["extrapolated", "abstained"])
def test_how_far_to_believe_it(status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 120)
    plan_page.print_details(planned(ranking("code", status, reason="a new size", ties=0.6)))
    text = " ".join(out.getvalue().split())
    assert f"{status}: {MEANINGS[status]}" in text
    assert "a new size" in text
    assert "2.0% of what was compared is out of range (usual up to 1.0%), most of all g" in text


def test_text_of_others_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 400)
    plan_page.print_details(
        planned(
            ranking(HOSTILE, reason=HOSTILE, ties=0.5),
            experts=("org/a",),  # no other names are references
            left_out={HOSTILE: HOSTILE},
            signatures={HOSTILE: {HOSTILE: HOSTILE}},
            predictor_from=HOSTILE,
        )
    )
    assert out.getvalue().count(HOSTILE) >= 8
    assert out.getvalue().count("[red]") == out.getvalue().count("[/red]") >= 9


def test_the_best_for_a_task_alone_is_named_as_the_table_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """0.7 for the expert of math, the second model, is 0.3 for the first."""
    both = [ranking(task, more=0.9, less=0.02, linear=0.5) for task in ("code", "math")]
    made = planned(*both, objective=Objective(weights={"code": 3}), experts=("org/a", "org/b"))
    out = console(monkeypatch, 200)
    plan_page.print_details(made)
    text = out.getvalue()
    row = re.search(r"[➜ ] linear\(weights=0\.3/0\.7\)[ ◆]*│(.*)│(.*)│(.*)│", text)
    assert row is not None
    assert f"best for it alone: {LESS.label}, {row[3].strip()}" in text
    assert "0.90" in row[3]
    assert f"best for it alone: {MORE.label}, 0.90" in text
    recorded = yaml.safe_load(made.to_yaml())["why"]
    assert f"For math alone: {LESS.label} over linear by 0.40" in recorded["reason"]
    (same,) = [each for each in recorded["predictions"] if each["merge"] == LESS.label]
    assert spell_interval(same["tasks"]["math"]) == row[3].strip()


SAID = {
    "good": (ranking("code", ties=0.8, linear=0.7), ranking("math", ties=0.7, linear=0.8)),
    "lost": (ranking("code", ties=0.95, linear=0.4), ranking("math", ties=0.06, linear=0.5)),
    "far": (
        ranking("code", "extrapolated", reason="models of 7,000,000,000 parameters", ties=0.8),
        ranking("math", ties=0.9),
    ),
    "abstained": (ranking("code", "abstained", reason="a new size", ties=0.6), BOTH[1]),
}
JARGON = re.compile(r"mean ranks|\barms?\b|auxiliary|\w_\w|density=|NaN|nan")


@pytest.mark.parametrize("kind", SAID)
def test_a_decision_fits_on_one_screen(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 80)
    plan_page.page(planned(*SAID[kind], experts=("org/a", "org/b")), written="plan.yaml")
    lines = out.getvalue().splitlines()
    assert len(lines) <= 22
    assert max(map(len, lines)) <= 80
    assert not JARGON.search(out.getvalue())
    assert "simmerge-hub merge plan.yaml -o merged" in lines[-2]


def test_bars_end_at_the_experts_score(monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 80)
    ranked = (ranking("code", ties=1.2), ranking("math", ties=0.4, width=0.2))
    plan_page.page(planned(*ranked, experts=("org/a", "org/b")))
    code, math = (line for line in out.getvalue().splitlines() if "expert org" in line)
    assert "█" * 25 + " 120 % (" in code
    assert "█" * 10 + "░" * 5 + "·" * 10 + " " in math
    assert "40 % (20–60)" in math


def test_other_merges_stand_in_order_of_the_first_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the safe merge is taken, and another has the larger mean."""
    ranked = [ranking(t, by=rankings.grounds(), ties=0.7, linear=0.6, scaled=0.3) for t in "ab"]
    made = planned(*ranked, experts=("org/a", "org/b"))
    assert made.best.label == "linear"
    out = console(monkeypatch, 80)
    plan_page.page(made)
    rows = out.getvalue().partition("Other ways")[2].splitlines()[1:3]
    assert [re.findall(r"\d+ %", row)[-3] for row in rows] == ["70 %", "30 %"]


def test_details_stand_in_order_of_the_first_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the safe merge is taken, and another has the larger mean."""
    ranked = [ranking(t, by=rankings.grounds(), ties=0.7, linear=0.6) for t in ("a", "b")]
    made = planned(*ranked, experts=("org/a", "org/b"))
    assert made.best.label == "linear"
    out = console(monkeypatch, 80)
    plan_page.page(made, verbose=True)
    assert out.getvalue().index("  ties(density=0.2)") < out.getvalue().index("➜ linear")


def test_hostile_names_stay_as_they_are_in_a_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 200)
    plan_page.page(planned(ranking(HOSTILE, "extrapolated", reason=HOSTILE, ties=0.8)))
    assert out.getvalue().count(HOSTILE) >= 2


def test_every_merge_is_tried_or_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    text = console(monkeypatch, 100)
    plan = planned(ranking("code", ties=0.6, linear=0.5))
    seen = {plan.choices[1].label: Tried(kept={}, predicted={})}
    verdict = replace(plan.verdict, tried=seen, status="tried")
    plan_page.page(replace(plan, verdict=verdict), verbose=True)
    rows = [line for line in text.getvalue().splitlines() if line.startswith("│")]
    assert [("tried" in row, "predicted" in row) for row in rows] == [(False, True), (True, False)]
    assert f"tried: {MEANINGS['tried'][:30]}" in text.getvalue()


def test_merges_that_were_not_tried_stand_behind_and_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where more was predicted of them."""
    text = console(monkeypatch, 80)
    plan = planned(ranking("code", ties=0.9, linear=0.5, scaled=0.4))
    best, *rest = plan.choices
    seen = {c.label: Tried(kept={}, predicted={}) for c in rest}
    verdict = replace(plan.verdict, choices=(*rest, best), tried=seen, status="tried")
    plan_page.page(replace(plan, verdict=verdict))
    others = text.getvalue().partition("Other ways")[2].splitlines()[1:3]
    assert "not tried" not in others[0]
    assert "not tried" in others[1]
    assert "90 %" in others[1]
    assert "(tried)" in text.getvalue()


@pytest.mark.parametrize("option", ["--try", "--probe-intermediates"])
def test_so_many_are_tried(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is what it was called; nobody is shown it."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr("simmerge_hub.planning.plan.plan", lambda *_, **how: asked.update(how))
    monkeypatch.setattr("simmerge_hub.cli.plan.command._licence", lambda *_: None)
    monkeypatch.setattr(plan_page, "page", lambda *_, **__: None)
    assert main(["plan", "a", "b", option, "3"]) == 0
    assert asked["tries"] == 3
    assert main(["plan", "a", "b"]) == 0
    assert asked["tries"] == 0


def test_a_notebook_shows_the_decision_and_runs_nothing_of_others() -> None:
    evil = "<script>alert(1)</script>"
    made = planned(ranking(evil, "extrapolated", reason=evil, ties=0.8))
    shown = made._repr_html_()
    root = ElementTree.fromstring(shown)  # well-formed, and nothing of it is a script
    assert "<script" not in shown
    assert {each.tag for each in root.iter()} <= {
        "div", "p", "b", "table", "tr", "th", "td", "span"
    }  # fmt: skip
    text = "".join(root.itertext())
    assert made.decision.advice.headline in text
    assert text.count(evil) >= 2


def test_a_notebook_shows_bars_and_other_ways() -> None:
    made = planned(*BOTH)
    root = ElementTree.fromstring(made._repr_html_())
    bars = [each.get("style", "") for each in root.iter("span")]
    assert [b for b in bars if "width:40%" in b] and [b for b in bars if "width:50%" in b]
    text = "".join(root.itertext())
    assert "Other ways" in text and "TIES (density 0.2)" in text


@pytest.mark.parametrize("width", [40, 60, 80])
def test_names_of_other_ways_are_wrapped_not_cut(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "TIES (density 0.5) of (plain average of code + math) + multilingual, not tried"
    out = console(monkeypatch, width)
    columns = ("mean", "code", "math", "multilingual")
    others = [Other(method=f"{n} {long}", values=("31 %", "0 %", "0 %", "99 %")) for n in "ab"]
    show.OUT.print(screen._others(columns, others))
    text = out.getvalue()
    assert "…" not in text and text.count("99 %") == 2
    assert max(map(len, text.splitlines())) <= width
    names = [row for row in text.splitlines() if "9" not in row] if width == 40 else [text]
    assert " ".join(names).split().count("tried") == 2
    assert ("  1   a TIES" in text) is (width == 40)  # below the table


def test_other_ways_of_tasks_with_long_names_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns alone are wider than the terminal."""
    out = console(monkeypatch, 40)
    columns = ("mean", "instructions", "multilingual", "summarization")
    other = Other(method="TIES (density 0.5)", values=("31 %", "0 %", "100 %", "99 %"))
    show.OUT.print(screen._others(columns, [other]))
    text = out.getvalue()
    assert "1   TIES (density 0.5)" in text and "100 %" in text
    assert max(map(len, text.splitlines())) <= 40


def test_long_names_of_experts_go_on_below(monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 60)
    long = "org/a-specialist-with-a-very-long-name-of-its-own"
    screen.print_decision(planned(*BOTH, experts=(long, long)))
    bars = out.getvalue().partition(":\n")[2].partition("how sure")[0]
    assert "".join(bars.split()).count("very") == 2
    assert max(map(len, out.getvalue().splitlines())) <= 60
    said = "".join(row[38:] for row in bars.splitlines())
    assert "".join(said.split()).count(f"expert{long.partition('/')[2]}") == 2


@pytest.mark.parametrize("width", [40, 60, 80])
def test_bars_give_way_to_names_where_room_is_short(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = console(monkeypatch, width)
    third = ranking("a_task_with_a_long_name", ties=0.6, scaled=1.05)
    screen.print_decision(planned(*BOTH, third, experts=("org/a", "org/a", "org/a")))
    text = out.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    bars = [row for row in text.splitlines() if screen.NONE in row or screen.FULL in row]
    assert len(bars) == 3 and len({row.index("(") for row in bars}) == 1
    shown = "expert org/a" if width == 80 else "expert a"
    assert (shown in text) is (width > 40)
    assert ("  a_task_with_a_long_n " in text and "\n  ame" in text) is (width == 80)
