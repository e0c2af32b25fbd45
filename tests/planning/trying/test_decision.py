"""What is tried, and what experts' answers tell, without making a merge."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simmerge_hub.errors import ProbeError
from simmerge_hub.planning.ask.objective import MEAN
from simmerge_hub.planning.ask.options import Ask
from simmerge_hub.planning.choice import Belief, Choice, Gap, Order
from simmerge_hub.planning.evidence import Evidence
from simmerge_hub.planning.pairs import decide as pairs_decide
from simmerge_hub.planning.tree import join, leaf
from simmerge_hub.planning.trying.answers import NO_ANSWERS, sort_answers
from simmerge_hub.planning.trying.decision import (
    Outcome,
    decide,
    is_seen,
    pick,
    say_what_is_left,
    say_what_was_kept,
)
from simmerge_hub.planning.trying.pair import _conclude, try_pair
from simmerge_hub.planning.trying.trees import tree_gaps
from simmerge_hub.planning.trying.trial import Run, Workshop
from simmerge_hub.selector.predictor.measured import tried
from simmerge_hub.selector.predictor.origin import find
from simmerge_hub.signatures.probing.dosing.response import Cross
from simmerge_hub.signatures.probing.dosing.trial import UNREAD, OwnAnswers
from simmerge_hub.signatures.probing.probe import ProbeSet
from tests import rankings
from tests.signatures.merged.test_kept import FIVE, OWN, respond

PROBES = ProbeSet(task="a", source="x", prompts=("p",) * len(FIVE), digest="d")
RESPONSE = respond(FIVE)
ALL = Cross(kept=RESPONSE.kept[OWN], logliks=RESPONSE.logliks[OWN])
NOTHING = Cross(kept=~RESPONSE.kept[OWN], logliks=RESPONSE.logliks[OWN] - 5)


def choice(name: str, mean: float) -> Choice:
    tree = join(rankings.ARMS[name], leaf("first"), leaf("second"))
    return Choice(tree=tree, beliefs={"a": Belief(mean=mean)}, label=tree.arm.label)  # type: ignore[union-attr]


WHOLE = Gap()
LINEAR, TIES, SCALED = choice("linear", 0.9), choice("ties", 0.5), choice("scaled", 0.1)


def workshop(given: Any) -> Workshop:
    own = OwnAnswers(expert=(given.models[0], None), probes=PROBES, response=RESPONSE)
    evidence = Evidence(probes={"a": PROBES}, signatures={}, base=None, origins={})
    return Workshop(inputs=given, evidence=evidence, answers={"a": own})


def decided(runs: dict[str, Run], *, blind: bool = False, gap: Gap = WHOLE) -> Outcome:
    return decide(
        [LINEAR, TIES, SCALED],
        runs,
        workshop(rankings.inputs({"a": "first"})),
        lambda _: {"a": gap},
        Order(objective=MEAN, caution=0.0),
        blind=blind,
    )


def test_the_safe_one_is_tried_wherever_it_stands() -> None:
    labels = [c.label for c in pick([LINEAR, TIES, SCALED], 1, SCALED.label)]
    assert labels == [LINEAR.label, SCALED.label]
    assert [c.label for c in pick([LINEAR, TIES], 1, LINEAR.label)] == [LINEAR.label]


@pytest.mark.parametrize("blind", [False, True])
def test_what_keeps_more_comes_first_and_what_was_not_tried_last(blind: bool) -> None:
    runs = {TIES.label: Run(readings={"a": NOTHING}), SCALED.label: Run(readings={"a": ALL})}
    outcome = decided(runs, blind=blind)
    assert [c.label for c in outcome.choices] == [SCALED.label, TIES.label, LINEAR.label]
    utilities = [c.spreads()["a"][0] for c in outcome.choices]
    assert utilities[0] > 0.8
    assert utilities[1] < 0.2
    assert utilities[2] == 0.9
    assert outcome.tried[TIES.label].predicted["a"][0] == 0.5
    assert outcome.tried[SCALED.label].kept["a"].answers == 1
    order = Order(objective=MEAN, caution=0.0)
    assert say_what_is_left(outcome, order) == ()
    said = " ".join(say_what_was_kept(outcome, outcome.choices[0]))
    assert "keeps 100% on a" in said
    assert TIES.label in said


def test_a_merge_that_was_not_tried_and_is_predicted_higher_is_named() -> None:
    outcome = decided({TIES.label: Run(readings={"a": NOTHING})})
    (said,) = say_what_is_left(outcome, Order(objective=MEAN, caution=0.0))
    assert said == "linear was not tried, and is predicted higher (0.90): --try 2 looks at more"


def test_where_the_probes_say_nothing_the_prediction_stands_and_that_is_said() -> None:
    given = replace(rankings.inputs({"a": "first"}), base=rankings.checkpoint("base"))
    verdict = pairs_decide(given, {"a": rankings.ranking("a", linear=0.9, ties=0.5)}, MEAN)
    signatures: Any = {"first": _Signed({"a": respond([[4, 5, 0]] * 6)})}
    evidence = Evidence(probes={"a": PROBES}, signatures=signatures, base=None, origins={})
    after = try_pair(verdict, given, evidence, find().predictor, Ask(tries=2), say=print, note=None)
    assert (after.choices, after.status, after.tried) == (verdict.choices, "calibrated", {})
    assert "On a the probes say nothing: first: it gives the same answer" in after.reason
    assert "linear is expected to have the highest" in after.reason


def test_what_intervals_rest_on_is_said_where_models_are_far() -> None:
    given = rankings.inputs({"a": "first"})
    verdict = pairs_decide(given, {"a": rankings.ranking("a", linear=0.9, ties=0.5)}, MEAN)
    outcome = decided({LINEAR.label: Run(readings={"a": ALL})})
    order = Order(objective=MEAN, caution=0.0)
    for status, far in (("abstained", True), ("calibrated", False)):
        after = _conclude(replace(verdict, status=status), outcome, given, order)
        assert after.status == "tried"
        assert (f"was shown on {tried.read().of} only" in after.reason) == far


def test_tried_is_only_what_was_seen_where_something_is_to_lose() -> None:
    outcome = decided({LINEAR.label: Run(readings={"a": ALL})})
    unread = decided({LINEAR.label: Run(readings={"a": UNREAD})})
    lost, nothing = Gap(level=0.2), Gap(level=1.0)
    assert is_seen(outcome, LINEAR, {"a": lost, "b": nothing})
    assert not is_seen(outcome, LINEAR, {"a": lost, "b": lost})
    assert not is_seen(outcome, LINEAR, {"a": nothing})
    assert not is_seen(outcome, LINEAR, {})
    assert not is_seen(unread, LINEAR, {"a": lost})
    assert not is_seen(outcome, TIES, {"a": lost})


def test_a_prediction_stays_where_a_merge_reads_other_tokens() -> None:
    outcome = decided({TIES.label: Run(readings={"a": UNREAD})})
    assert outcome.choices[0].label == TIES.label
    assert outcome.choices[0].beliefs == TIES.beliefs
    assert not outcome.tried[TIES.label].kept


def test_where_predictions_show_nothing_none_of_an_unseen_task_decides() -> None:
    runs = {each.label: Run(readings={"a": UNREAD}) for each in (LINEAR, TIES)}
    assert {c.beliefs["a"].mean for c in decided(runs, blind=True).choices[:2]} == {0.5}
    assert {c.beliefs["a"].mean for c in decided(runs).choices[:2]} == {0.9, 0.5}


def test_what_was_predicted_counts_as_a_share_of_the_gap() -> None:
    """Where the other keeps 0.8 of the expert's score, a utility of 0.9 is half of the gap."""
    outcome = decided({LINEAR.label: Run(readings={"a": NOTHING})}, gap=Gap(level=0.8))
    kept = outcome.tried[LINEAR.label].kept["a"]
    gain, width = tried.read().expect(kept, 0.5)
    belief = outcome.choices[0].beliefs["a"]
    assert belief.mean == pytest.approx(0.8 + 0.2 * gain)
    assert belief.spread()[2] - belief.mean == pytest.approx(0.2 * width)


def test_of_a_tree_the_others_are_their_mean() -> None:
    scores = {"x": {"a": 0.8, "b": 0.4, "c": 0.08}}
    given = rankings.inputs({"x": "a"}, scores, names=("a", "b", "c"))

    def gaps(models: str) -> Any:
        tree = join(rankings.LINEAR, *map(leaf, models))
        return tree_gaps(Choice(tree=tree, beliefs={}, label=tree.label), given)

    assert gaps("abc")["x"].level == pytest.approx(0.3)
    assert gaps("ab")["x"].level == pytest.approx(0.5)
    assert gaps("bc") == {}


def test_answers_that_say_nothing_are_told_from_those_that_do() -> None:
    given = rankings.inputs({"a": "first", "b": "second", "c": "second"})
    given = replace(given, base=rankings.checkpoint("base"))
    tasks = {t: replace(PROBES, task=t) for t in "abc"}
    signatures: Any = {
        "first": _Signed({"a": RESPONSE}),
        "second": _Signed({"b": respond([[4, 5, 0]] * 6)}),
    }
    evidence = Evidence(probes=tasks, signatures=signatures, base=None, origins={})
    answers = sort_answers(given, evidence)
    assert set(answers.telling) == {"a"}
    assert answers.silent == {
        "b": "second: it gives the same answer to every prompt",
        "c": f"second: {NO_ANSWERS}",
    }
    said = say_what_was_kept(Outcome(choices=(TIES,), silent=answers.silent), TIES)
    assert said[0] == f"On b the probes say nothing: {answers.silent['b']}"
    with pytest.raises(ProbeError, match="no base is known"):
        sort_answers(replace(given, base=None), evidence)


class _Signed:
    """As much of a signature as answers need."""

    def __init__(self, responses: dict[str, Any]) -> None:
        self.responses = responses


def test_the_packaged_model_believes_what_it_sees() -> None:
    """Whoever keeps all is as good as the expert, whoever keeps nothing as the other model."""
    model = tried.read()
    outcome = decided({TIES.label: Run(readings={"a": ALL})})
    kept = outcome.tried[TIES.label].kept["a"]
    lost = decided({TIES.label: Run(readings={"a": NOTHING})}).tried[TIES.label].kept["a"]
    for predicted in (None, 0.5):
        high, width = model.expect(kept, predicted)
        low, _ = model.expect(lost, predicted)
        assert high == pytest.approx(1, abs=0.1)
        assert low == pytest.approx(0, abs=0.1)
        assert 0 < width < 0.4
        widths = [model.expect(replace(kept, weighted=0.5, count=n), predicted)[1] for n in (8, 64)]
        assert widths[0] > widths[1]  # fewer answers say less
        as_many = model.expect(replace(kept, weighted=0.5, count=model.answers), predicted)[1]
        assert as_many == (model.blind if predicted is None else model.predicted).radius
    assert model.rows > 500
    assert np.isfinite([*model.predicted.weights, *model.blind.weights]).all()
