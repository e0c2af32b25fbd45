"""What one report says about other arms and other pairs."""

import numpy as np
import pytest

from simmerge_hub.selector.bandit.corrections import Corrections, Report, add_arm, believe, ties

ARMS = ("linear", "slerp", "ties")
TIED = ties(np.array([[0.5, 0.5, 0.1], [0.2, 0.25, 0.6], [0.4, 0.4, 0.3], [0.1, 0.15, 0.5]]))


def after(*told: Report, models: tuple[str, ...] = ("a", "b", "c", "d")) -> Corrections:
    return believe(ARMS, TIED, models, told)


def error(found: Corrections, arm: str, expert: str, auxiliary: str) -> float:
    return float(found.means(found.contexts(expert, auxiliary))[found.arms.index(arm)])


def bad(arm: str = "linear", expert: str = "a", auxiliary: str = "b") -> Report:
    return Report(arm=arm, expert=expert, auxiliary=auxiliary, error=-0.5, weight=1.0)


def test_nothing_told_is_no_correction() -> None:
    found = after()
    assert not found.means(found.contexts("a", "b")).any()


def test_the_nearer_a_pair_the_more_it_is_corrected() -> None:
    found = after(bad())
    same, half, none = (error(found, "linear", *pair) for pair in ("ab", "ac", "cd"))
    assert same < half < none < 0
    # The roles are apart: as an auxiliary, a is unknown.
    assert error(found, "linear", "c", "a") == pytest.approx(none)


def test_arms_that_do_alike_err_alike() -> None:
    found = after(bad("slerp"))
    slerp, linear, tied = (error(found, arm, "a", "b") for arm in ("slerp", "linear", "ties"))
    assert slerp < linear < tied


@pytest.mark.parametrize("count", [0, 2])
def test_all_at_once_is_one_after_another(count: int) -> None:
    random = np.random.default_rng(0)
    arms, tied = [*ARMS, "new", "newer"][: 3 + count], TIED
    for _ in range(count):
        tied = add_arm(tied, [0, 1, 2])
    told = [
        Report(arm=str(random.choice(arms)), expert=str(e), auxiliary=str(a),
             error=float(random.normal()), weight=1.0)
        for e, a in random.choice(list("abcd"), size=(40, 2))
    ]  # fmt: skip

    def after(*told: Report, models: tuple[str, ...] = ("a", "b", "c", "d")) -> Corrections:
        return believe(arms, tied, models, told, unknown=count)

    found = after()
    for t in told:
        context = found.contexts(t.expert, t.auxiliary)[arms.index(t.arm)]
        found = found.learn(context, t.error)
    whole = after(*told)
    assert np.allclose(found.belief.mean, whole.belief.mean, atol=1e-10)
    assert np.allclose(found.belief.covariance, whole.belief.covariance, atol=1e-10)
    assert found.belief.rate == pytest.approx(whole.belief.rate)
    # Asked about two models only, it believes the same of them.
    part = after(*told, models=("c", "a"))
    assert error(part, "ties", "a", "c") == pytest.approx(error(whole, "ties", "a", "c"))


def test_an_unknown_model_has_the_effects_of_all_pairs() -> None:
    found = after(bad(), models=("a",))
    assert error(found, "linear", "x", "y") == pytest.approx(error(after(bad()), "linear", *"cd"))


def test_ties_have_unit_size_and_an_added_arm_too() -> None:
    assert np.square(TIED).sum(axis=1).mean() == pytest.approx(1)
    more = add_arm(TIED, [0, 1])
    assert more.shape == (4, 4)
    assert more[3] @ more[0] > more[3] @ more[2]
    assert np.array_equal(ties(np.ones((3, 2))), np.eye(2))


def test_an_added_arm_is_tried_and_kept_if_it_is_better() -> None:
    arms, tied = (*ARMS, "new"), add_arm(TIED, [0, 1, 2])

    def about(error: float) -> list[Report]:
        return [
            Report(arm="new", expert=f"e{i}", auxiliary=f"a{i}", error=error, weight=1.0)
            for i in range(20)
        ]

    before, better, worse = (
        believe(arms, tied, ("e", "a"), some, unknown=1) for some in ([], about(0.2), about(-0.2))
    )
    random = np.random.default_rng(0)
    context = before.contexts("e", "a")
    drawn = before.draws(context, random, count=500, explore=0.01)
    assert drawn[:, :3].std(axis=0).max() < 0.01
    assert drawn[:, 3].std() == pytest.approx(0.15, rel=0.2)
    assert not before.draws(context, random, explore=0.0).any()
    assert error(better, "new", "e", "a") > 0.1 > -0.1 > error(worse, "new", "e", "a")
    # Reports about it say little about the others.
    assert abs(error(better, "linear", "e", "a")) < error(better, "new", "e", "a") / 2


def test_an_added_arm_is_never_explored_more_than_in_full() -> None:
    """Its own effect and the shared ones go together once reports about one pair are many."""
    arms, tied = (*ARMS, "new"), add_arm(TIED, [0, 1, 2])
    told = [Report(arm=arm, expert="e", auxiliary="a", error=0.1, weight=1.0) for arm in arms * 50]
    found = believe(arms, tied, ("e", "a"), told, unknown=1)
    context = found.contexts("e", "a")
    sizes = [
        found.draws(context, np.random.default_rng(0), count=2000, explore=explore)[:, 3].std()
        for explore in (0.05, 1.0)
    ]
    assert sizes[0] <= 1.05 * sizes[1]


@pytest.mark.parametrize("unknown", [0, 1])
def test_more_than_full_exploration_is_more(unknown: int) -> None:
    found = believe(ARMS, TIED, ("e", "a"), [bad()], unknown=unknown)
    context = found.contexts("e", "a")
    once, twice = (
        found.draws(context, np.random.default_rng(0), count=500, explore=explore).std(axis=0)
        for explore in (1.0, 2.0)
    )
    assert twice == pytest.approx(2 * once)
