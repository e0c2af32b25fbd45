"""Rankings of two models on several tasks -> one verdict, in utilities and in the plan's order."""

from dataclasses import replace
from typing import Any

import pytest

from simmerge_hub.errors import ObjectiveError, PredictorError
from simmerge_hub.operators import ARMS, FED_ARMS
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.ask.options import Ask, Search
from simmerge_hub.planning.choice import Choice
from simmerge_hub.planning.pairs import candidates, decide
from simmerge_hub.planning.verdict import Verdict
from simmerge_hub.planning.words.decision import summarize
from simmerge_hub.selector.predictor import archive
from simmerge_hub.selector.predictor.origin import packaged_predictor
from simmerge_hub.selector.predictor.ranking import Ranking
from simmerge_hub.selector.predictor.wording import TIE
from tests.rankings import DECIDED, LESS, LINEAR, MORE, TIES, grounds, inputs, ranking

FIRST = {"a": "first", "b": "first"}
BOTH = {"a": "first", "b": "second"}


def decided(
    experts: dict[str, str], *rankings: Ranking, objective: Objective = MEAN, **scores: Any
) -> Verdict:
    return decide(inputs(experts, scores), {r.task: r for r in rankings}, objective)


def by_label(verdict: Verdict) -> dict[str, Choice]:
    return {choice.label: choice for choice in verdict.choices}


def test_the_best_mean_wins_and_its_bounds_are_means() -> None:
    verdict = decided(
        BOTH,
        ranking("a", linear=0.9, ties=0.6, width=0.1),
        ranking("b", linear=0.1, ties=0.6, width=0.2),
    )
    best = verdict.best
    assert best.tree.arm == TIES
    assert verdict.value(best) == pytest.approx((0.6, 0.45, 0.75))
    assert best.spreads()["b"] == pytest.approx((0.6, 0.4, 0.8))


def test_an_arm_of_the_second_expert_is_turned_round() -> None:
    """0.7 for the expert of b is 0.3 for the first model of the plan."""
    verdict = decided(BOTH, ranking("a", more=0.9, less=0.1), ranking("b", more=0.8, less=0.2))
    choices = by_label(verdict)
    assert choices[MORE.label].tree.arm == MORE
    assert choices[MORE.label].spreads()["a"][0] == pytest.approx(0.9)
    assert choices[MORE.label].spreads()["b"][0] == pytest.approx(0.2)
    assert choices[LESS.label].spreads()["b"][0] == pytest.approx(0.8)


def test_one_task_that_is_too_far_makes_the_verdict_take_the_safe_arm() -> None:
    verdict = decided(
        BOTH,
        ranking("a", by=grounds(), linear=0.9, ties=0.2),
        ranking("b", "abstained", by=grounds(far=True), linear=0.8, ties=0.3),
    )
    assert (verdict.status, verdict.best.tree.arm) == ("abstained", TIES)
    assert len(verdict.choices) == 2, "what was predicted is told all the same"
    assert verdict.because[0].startswith(
        "ties(density=0.2) is the safe choice: on 3 pairs of giants"
    )
    assert verdict.because[1] == (
        "The predictor's own ranking (linear first) is not followed: no held-out pair was as far "
        "from training (models of 270,000,000 parameters)"
    )
    assert "evaluate this merge" in verdict.because[2]


def test_a_safe_arm_that_no_held_out_pairs_speak_for_is_not_called_the_safest_in_tests() -> None:
    """Eight pairs were as far, of too few models: the arm came from elsewhere."""
    far = grounds(far=True)
    verdict = decided(
        BOTH, ranking("a", by=far, linear=0.9, ties=0.2), ranking("b", by=far, linear=0.8, ties=0.3)
    )
    assert (verdict.status, verdict.best.tree.arm) == ("calibrated", TIES)
    tasks = inputs(BOTH).tasks
    why = summarize(verdict, tasks, ("first", "second"), coverage=0.9).why
    assert why.startswith("on 3 pairs of giants, ") and "tests" not in why


def test_a_lead_over_the_safe_arm_must_exceed_what_such_leads_were_too_high_by() -> None:
    """Judged anew for all tasks at once: the mean lead decides, not those of the tasks."""

    def verdict(ahead: float) -> Verdict:
        return decided(
            BOTH,
            ranking("a", by=grounds(), linear=0.1, ties=0.1 + ahead),
            ranking("b", by=grounds(), linear=0.1, ties=0.1 + ahead),
        )

    small, large = verdict(0.29), verdict(0.4)
    assert (small.best.tree.arm, small.status) == (LINEAR, "calibrated")
    assert "leads so small were seen too rarely on held-out models" in small.because[0]
    assert large.best.tree.arm == TIES
    assert "It leads linear, the safe operator, by 0.40; leads no larger" in large.because[-1]
    assert verdict(0.301).best.tree.arm == TIES


@pytest.mark.parametrize(("experts", "cases"), [(FIRST, 12 * 11), (BOTH, 12 * 11 // 2)])
def test_two_experts_are_judged_by_pairs_on_both_their_tasks(
    experts: dict[str, str], cases: int
) -> None:
    ranked = [ranking(task, by=grounds(), linear=0.1, ties=0.5) for task in "ab"]
    trust = decided(experts, *ranked).trust
    assert trust is not None and trust.cases == cases


def test_what_must_be_kept_is_a_lead_too() -> None:
    """The safe arm has the higher value, but would keep 0.4 less than is asked for."""
    verdict = decided(
        BOTH,
        ranking("a", by=grounds(), linear=0.9, ties=0.8),
        ranking("b", by=grounds(), linear=0.1, ties=0.6),
        objective=Objective(keep={"b": 0.5}),
    )
    assert verdict.best.tree.arm == TIES
    assert verdict.trust is not None
    assert verdict.trust.lead == pytest.approx(0.4)


def test_no_arm_for_every_task_is_an_error() -> None:
    with pytest.raises(PredictorError, match="no operator is left"):
        decided(FIRST, ranking("a", linear=0.9), ranking("b", ties=0.3))


def test_the_packaged_predictor_can_take_a_safe_arm_for_two_experts() -> None:
    """The safe arm must be the same merge seen from either model."""
    predictor = archive.load(packaged_predictor())
    safe = predictor.beyond.best([a.label for a in predictor.arms if a == a.swapped()])
    assert safe == "regmean(alpha=0.98, inputs=merge)"
    assert predictor.beyond.best([a.label for a in ARMS if a == a.swapped()]) == "linear"
    assert predictor.familiar.parameters is not None, "it could never say that a size is new"


class TestUnit:
    """A gain is a share of the gap; a utility is a share of the expert's score."""

    HALF = {"a": {"first": 0.8, "second": 0.4}}  # noqa: RUF012

    def test_of_a_model_with_half_the_score_the_merge_keeps_half_and_half_the_gain(self) -> None:
        verdict = decided({"a": "first"}, ranking("a", linear=0.6, ties=-0.4), **self.HALF)
        spreads = {label: c.spreads()["a"] for label, c in by_label(verdict).items()}
        assert spreads[LINEAR.label] == pytest.approx((0.8, 0.75, 0.85))  # 0.5 + 0.5 · 0.6 ± 0.05
        assert spreads[TIES.label] == pytest.approx((0.3, 0.25, 0.35))

    def test_the_expert_may_be_the_second_model(self) -> None:
        scores = {"a": {"first": 0.4, "second": 0.8}}
        verdict = decided({"a": "second"}, ranking("a", linear=0.6), **scores)
        assert verdict.best.spreads()["a"] == pytest.approx((0.8, 0.75, 0.85))

    def test_where_no_score_is_stated_both_are_the_same(self) -> None:
        verdict = decided({"a": "first"}, ranking("a", linear=0.6))
        assert verdict.best.spreads()["a"] == pytest.approx((0.6, 0.5, 0.7))

    def test_what_must_be_kept_is_a_share_of_the_score(self) -> None:
        """A gain of 0.7 keeps 0.85 of the expert if the other model has half of it."""
        asked: dict[str, Any] = {"objective": Objective(keep={"a": 0.8})}
        assert decided({"a": "first"}, ranking("a", linear=0.7), **asked, **self.HALF).best
        with pytest.raises(ObjectiveError, match=r"no merge is predicted to keep 0\.8 on a"):
            decided({"a": "first"}, ranking("a", linear=0.7), **asked)

    def test_the_lead_and_what_features_add_are_utilities_too(self) -> None:
        given = ranking("a", linear=0.6, ties=0.2, contributions=(DECIDED,))
        standing = decided({"a": "first"}, given, **self.HALF).standings["a"]
        assert standing.lead == pytest.approx(0.2)
        assert [c.lead for c in standing.contributions] == [pytest.approx(DECIDED.lead / 2)]
        assert (
            standing.reason == "linear over ties(density=0.2) by 0.20, because the delta is small"
        )

    def test_the_next_best_is_the_one_the_features_were_compared_with(self) -> None:
        """Half the gap must not tie arms that the predictor told apart."""
        apart = 1.5 * TIE
        given = ranking("a", linear=0.6, ties=0.6 - apart, scaled=0.1)
        standing = decided({"a": "first"}, given, **self.HALF).standings["a"]
        assert standing.next_best == TIES.label
        assert standing.lead == pytest.approx(apart / 2)
        assert "tied" not in standing.reason

    def test_a_model_alone_may_be_better_than_any_merge(self) -> None:
        """The first keeps 1 of a and 0.9 of b, the second's; no merge comes near."""
        scores = {"b": {"first": 0.72, "second": 0.8}}
        verdict = decided(BOTH, ranking("a", linear=0.3), ranking("b", linear=0.1), **scores)
        assert "first alone has 0.95: no merge is predicted to be better" in verdict.because


class TestNoGap:
    """On b the first model has 0.98 of the expert's score: as a tree, a pair lies in between."""

    SCORES = {"b": {"first": 0.784, "second": 0.8}}  # noqa: RUF012
    RANKINGS = (
        ranking("a", by=grounds(), linear=0.1, ties=0.9),
        ranking("b", by=grounds(), linear=1.0, ties=-0.5, contributions=(DECIDED,)),
    )

    def test_every_arm_keeps_as_much_of_it_and_the_other_task_decides(self) -> None:
        verdict = decided(BOTH, *self.RANKINGS, **self.SCORES)
        assert [c.spreads()["b"] for c in verdict.choices] == [(0.99, 0.99, 0.99)] * 2
        assert verdict.best.tree.arm == TIES

    def test_no_arm_leads_on_it(self) -> None:
        """The mean lead is half of that on a, 0.8; counting b it would be -0.35."""
        trust = decided(BOTH, *self.RANKINGS, **self.SCORES).trust
        assert trust is not None
        assert (trust.first, trust.safe) == (TIES.label, LINEAR.label)
        assert trust.lead == pytest.approx(0.4)

    def test_it_is_said(self) -> None:
        standing = decided(BOTH, *self.RANKINGS, **self.SCORES).standings["b"]
        assert (standing.best, standing.next_best, standing.lead) == (None, "", 0.0)
        assert (
            standing.reason == "the two models are equally good at it, and so is any merge of them"
        )


class TestBestForItAlone:
    """With --weight or --keep arms are lopsided: a task's best is named as the table names it."""

    RANKINGS = (
        ranking("a", more=0.9, less=0.02, linear=0.5),
        ranking("b", more=0.9, less=0.02, linear=0.4),
    )

    @pytest.mark.parametrize("objective", [Objective(weights={"a": 3}), Objective(keep={"a": 0.4})])
    def test_its_value_is_the_one_the_table_gives_the_arm(self, objective: Objective) -> None:
        verdict = decided(BOTH, *self.RANKINGS, objective=objective)
        for task, arm in {"a": MORE, "b": LESS}.items():
            best = verdict.standings[task].best
            assert best is not None
            label, spread = best
            assert label == arm.label
            assert spread == by_label(verdict)[label].spreads()[task]
            assert spread[0] == max(c.spreads()[task][0] for c in verdict.choices)

    def test_the_reason_that_a_plan_records_names_it_so(self) -> None:
        reason = decided(BOTH, *self.RANKINGS, objective=Objective(weights={"a": 3})).reason
        assert f"For a alone: {MORE.label} over linear by 0.40" in reason
        assert f"For b alone: {LESS.label} over linear by 0.50" in reason

    def test_the_next_best_is_named_so_too(self) -> None:
        given = ranking("b", linear=0.9, more=0.5, less=0.1)
        standing = decided({"b": "second"}, given, objective=Objective(keep={"b": 0.1})).standings
        assert standing["b"].next_best == LESS.label


class TestObjectives:
    """Tasks that disagree: linear is for a, ties for b, and unequal weights are a compromise."""

    RANKINGS = (
        ranking("a", linear=0.9, ties=0.2, more=0.5),
        ranking("b", linear=0.1, ties=0.7, more=0.45),
    )

    def verdict(self, **fields: Any) -> Verdict:
        return decided(FIRST, *self.RANKINGS, objective=Objective(**fields))

    def test_each_takes_another_arm(self) -> None:
        wanted = [
            ({}, LINEAR),
            ({"worst": True}, MORE),
            ({"weights": {"b": 3}}, TIES),
            ({"keep": {"b": 0.4}}, MORE),
            ({"keep": {"b": 0.6}}, TIES),
            ({"keep": {"b": 0.4, "a": 0.1}}, MORE),
        ]
        for fields, arm in wanted:
            assert self.verdict(**fields).best.tree.arm == arm

    def test_arms_that_keep_too_little_come_last(self) -> None:
        verdict = self.verdict(keep={"b": 0.5})
        assert [c.tree.arm for c in verdict.choices] == [TIES, MORE, LINEAR]
        assert verdict.missing(verdict.choices[2]) == {"b": pytest.approx(0.4)}
        assert "; no other keeps as much" in verdict.because[0]

    def test_what_cannot_be_kept_is_one_error(self) -> None:
        with pytest.raises(ObjectiveError) as caught:
            self.verdict(keep={"a": 0.8, "b": 0.6})
        assert str(caught.value) == (
            "no merge is predicted to keep 0.8 on a and 0.6 on b; the closest is "
            f"{MORE.label} with 0.50 on a, 0.45 on b"
        )
        assert "--keep a=0.5 --keep b=0.45" in caught.value.hint

    def test_an_abstention_says_that_it_does_not_know(self) -> None:
        given = ranking("a", "abstained", by=grounds(far=True), ties=0.2)
        verdict = decided({"a": "first"}, given, objective=Objective(keep={"a": 0.8}))
        assert verdict.best.tree.arm == TIES
        assert "Whether it meets the objective is not known" in verdict.reason

    def test_the_front(self) -> None:
        verdict = self.verdict()
        assert {c.label for c in verdict.pareto} == {LINEAR.label, TIES.label, MORE.label}
        verdict = decided(
            FIRST,
            ranking("a", linear=0.9, ties=0.2, more=0.5),
            ranking("b", linear=0.4, ties=0.4, more=0.5),
        )
        assert [verdict.on_front(c) for c in verdict.choices] == [
            c.tree.arm != TIES for c in verdict.choices
        ]

    def test_that_tasks_disagree_is_said(self) -> None:
        assert "The tasks disagree: b alone would take ties(density=0.2) (0.70 against 0.10)" in (
            self.verdict().reason
        )
        alike = [ranking(task, linear=0.9, ties=0.2) for task in "ab"]
        assert "It is the best on every task" in decided(FIRST, *alike).reason


def test_arms_that_were_not_asked_for_say_why() -> None:
    given = replace(ranking("b", linear=0.5), rejected=((MORE, "not asked for"),))
    assert decided({"b": "second"}, given).left_out == {
        LESS.label: "favours one model, and --balanced leaves such merges out"
    }


class TestCandidates:
    """Every arm competes; what sees activations needs a predictor that knows it, and prompts."""

    TRAINED = replace(archive.load(packaged_predictor()), arms=(*ARMS, *FED_ARMS))

    def test_all_arms_unless_balanced_ones_are_asked_for(self) -> None:
        every, left = candidates(self.TRAINED, Ask())
        assert (every, left) == ((*ARMS, *FED_ARMS), {})
        alike, left = candidates(self.TRAINED, Ask(search=Search(balanced=True)))
        assert left == {} and alike == tuple(a for a in every if a == a.swapped())

    def test_what_sees_activations_is_for_predictors_that_learned_it(self) -> None:
        known = replace(self.TRAINED, arms=ARMS)
        assert candidates(known, Ask()) == (ARMS, {})

    def test_an_older_predictor_chooses_between_what_samples_tell_of_besides(self) -> None:
        """It scores operators it never saw by their effects, which delta_regmean has none of."""
        older = replace(self.TRAINED, arms=tuple(a for a in ARMS if a.operator == "linear"))
        arms, left = candidates(older, Ask())
        assert arms == tuple(a for a in ARMS if a.operator != "delta_regmean")
        assert left == {}

    def test_without_prompts_that_help_it_is_left_out_with_the_reason(self) -> None:
        arms, left = candidates(self.TRAINED, Ask(), unfed="because")
        assert arms == ARMS
        assert left == {arm.label: "because" for arm in FED_ARMS}
