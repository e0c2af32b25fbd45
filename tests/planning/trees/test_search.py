"""The search on forecasts whose truth is made up: quick, and the best tree is known."""

from typing import Any, ClassVar

import pytest

from simmerge_hub.operators import Arm, arm
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.choice import CAUTION, Belief, Choice, Order
from simmerge_hub.planning.tree import Tree, enumerate_trees, identity, join, leaf
from simmerge_hub.planning.trees.search import search


class Known:
    """Every step costs what its arm says; a bad model halves whatever it is merged with."""

    COST: ClassVar = {
        "linear": 0.6, "ties": 0.8, "task_arithmetic": 0.7, "karcher": 0.5, "regmean": 0.9,
    }  # fmt: skip

    base = True

    def __init__(
        self, models: str, bad: str = "", doubt: float = 0.0, fed: tuple[Arm, ...] = ()
    ) -> None:
        self.models, self.fed = dict.fromkeys(models), fed
        self.bad, self.doubt, self.scored = bad, doubt, 0

    def model(self, name: str) -> Choice:
        good = {m: Belief(mean=float(m == name)) for m in self.models if m != self.bad}
        return Choice(tree=leaf(name), beliefs=good, label=name)

    def trees(self, asked: list[Tree]) -> list[Choice]:
        self.scored += len(asked)
        return [self._forecast(tree) for tree in asked]

    def _forecast(self, tree: Tree) -> Choice:
        if tree.arm is None:
            return self.model(tree.models[0])
        parts = [self._forecast(part) for part in tree.parts]
        factor = self.COST[tree.arm.operator] * (0.5 if self.bad in tree.models else 1)
        variance = self.doubt if tree.arm.operator == "ties" else 0.0
        beliefs = {
            t: Belief(mean=factor * max(p.beliefs[t].mean for p in parts), variance=variance)
            for t in parts[0].beliefs
        }
        return Choice(tree=tree, beliefs=beliefs, label=tree.label)


def ranked_by(known: Known, **options: Any) -> list[Choice]:
    return search(known, options.pop("objective", MEAN), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("models", ["ab", "abc", "abcd"])
def test_without_a_beam_every_tree_is_scored(models: str) -> None:
    ranked = ranked_by(Known(models), least=len(models), beam=0)
    assert {identity(c.tree) for c in ranked} == {identity(t) for t in enumerate_trees(models)}


def test_up_to_three_models_a_beam_changes_nothing() -> None:
    assert ranked_by(Known("abc"), beam=8) == ranked_by(Known("abc"), beam=0)


def test_the_best_comes_first_whatever_the_order_of_the_models() -> None:
    ranked = [ranked_by(Known(order)) for order in ("abcd", "dbca")]
    assert [c.tree.label for c in ranked[0]] == [c.tree.label for c in ranked[1]]
    assert ranked[0][0].tree.label.startswith("ties(density=0.2)[")
    assert ranked[0][0].tree.shape == "one step"


@pytest.mark.parametrize("models", ["ab", "abc", "abcd"])
def test_what_sees_activations_merges_models_in_one_step_and_nothing_is_built_upon_it(
    models: str,
) -> None:
    regmean = arm("regmean")
    ranked = ranked_by(Known(models, fed=(regmean,)), least=2, beam=0)
    assert ranked[0].tree == join(regmean, *map(leaf, models))
    subsets = [c.tree.models for c in ranked if c.tree.arm == regmean]
    assert len(subsets) == 2 ** len(models) - len(models) - 1
    steps = [merge for c in ranked for merge in c.tree.merges if merge.arm == regmean]
    assert len(steps) == len(subsets)


def test_a_harmful_model_is_left_out() -> None:
    best = ranked_by(Known("abcx", bad="x"))[0]
    assert sorted(best.tree.models) == ["a", "b", "c"]


def test_subsets_have_the_sizes_asked_for() -> None:
    sizes = {len(c.tree.models) for c in ranked_by(Known("abcd"), least=3, most=3)}
    assert sizes == {3}


def test_what_is_doubtful_is_not_chosen_unless_caution_is_thrown_away() -> None:
    assert "ties" not in ranked_by(Known("abc", doubt=1.0))[0].tree.label
    assert "ties" in ranked_by(Known("abc", doubt=1.0), caution=0.0)[0].tree.label


def test_what_must_be_kept_comes_first() -> None:
    ranked = ranked_by(Known("abc"), objective=Objective(keep={"a": 0.75}))
    assert ranked[0].beliefs["a"].mean >= 0.75


def test_many_models_stay_affordable() -> None:
    known = Known("abcdefgh")
    best = ranked_by(known, most=4)[0]
    assert 2 <= len(best.tree.models) <= 4
    assert known.scored < 5000


@pytest.mark.parametrize(("lead", "first"), [(0.04, "ab"), (0.06, "abx")])
def test_a_model_that_is_the_best_at_nothing_must_add_something(lead: float, first: str) -> None:
    two, three = (join(arm("linear"), *map(leaf, models)) for models in ("ab", "abx"))
    plain = Choice(tree=two, beliefs={"a": Belief(mean=0.5)}, label=two.label)
    other = Choice(
        tree=three,
        beliefs={"a": Belief(mean=0.5 + lead)},
        label=three.label,
        idle=frozenset("x"),
    )
    order = Order(objective=MEAN, caution=CAUTION)
    assert "".join(order.sort([plain, other])[0].tree.models) == first
