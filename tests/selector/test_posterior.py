"""One reward at a time is all at once; order, doubling and forgetting do what they should."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.selector.posterior import (
    Posterior,
    condition,
    draw,
    faded,
    prior,
    update,
    width,
)


def start(size: int, seed: int = 0) -> Posterior:
    random = np.random.default_rng(seed)
    half = random.normal(size=(size, size))
    return prior(random.normal(size=size), half @ half.T + np.eye(size), shape=3.0, rate=2.0)


def close(a: Posterior, b: Posterior, tolerance: float = 1e-8) -> bool:
    return (
        np.allclose(a.mean, b.mean, rtol=tolerance, atol=tolerance)
        and np.allclose(a.precision, b.precision, rtol=tolerance, atol=tolerance)
        and math.isclose(a.shape, b.shape, rel_tol=tolerance)
        and math.isclose(a.rate, b.rate, rel_tol=tolerance)
    )


def test_ten_thousand_updates_are_the_closed_form() -> None:
    random = np.random.default_rng(1)
    began = belief = start(14)
    contexts = random.normal(size=(10_000, 14)) * np.logspace(-2, 1, 14)
    rewards = contexts @ random.normal(size=14) + 0.5 * random.normal(size=10_000)
    for z, reward in zip(contexts, rewards, strict=True):
        belief = update(belief, z, float(reward))
    # Straight from the formulas, with an inverse and without any of the module's code.
    before = began.precision
    precision = before + contexts.T @ contexts
    mean = np.linalg.inv(precision) @ (before @ began.mean + contexts.T @ rewards)
    squares = rewards @ rewards + began.mean @ before @ began.mean - mean @ precision @ mean
    assert np.abs(belief.mean - mean).max() < 1e-8
    assert np.abs(belief.precision / precision - 1).max() < 1e-8
    assert belief.shape == began.shape + 5_000
    assert abs(belief.rate / (began.rate + squares / 2) - 1) < 1e-8
    assert close(belief, condition(began, contexts, rewards))


SIZES = st.integers(1, 6)
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=50, deadline=None)
@given(size=SIZES, seed=SEEDS, count=st.integers(0, 30))
def test_updates_are_the_closed_form_in_any_order(size: int, seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    contexts, rewards = random.normal(size=(count, size)), random.normal(size=count)
    forward = backward = start(size, seed)
    for i in range(count):
        forward = update(forward, contexts[i], float(rewards[i]))
        backward = update(backward, contexts[-1 - i], float(rewards[-1 - i]))
    assert close(forward, backward)
    assert close(forward, condition(start(size, seed), contexts, rewards))


@settings(max_examples=50, deadline=None)
@given(size=SIZES, seed=SEEDS)
def test_a_reward_makes_surer_and_moves_towards_it(size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    before, z, reward = start(size, seed), random.normal(size=size), 5 * float(random.normal())
    after = update(before, z, reward)
    assert width(after, z) < width(before, z)
    assert abs(reward - z @ after.mean) <= abs(reward - z @ before.mean)
    assert after.rate >= before.rate
    assert (np.diag(after.root) > 0).all()


@settings(max_examples=50, deadline=None)
@given(size=SIZES, seed=SEEDS, keep=st.floats(0.01, 1))
def test_forgetting_keeps_a_share_of_the_evidence(size: int, seed: int, keep: float) -> None:
    random = np.random.default_rng(seed)
    began = start(size, seed)
    contexts, rewards = random.normal(size=(20, size)), random.normal(size=20)
    whole = condition(began, contexts, rewards)
    assert close(faded(whole, began, keep=keep), condition(began, contexts, rewards, weight=keep))
    assert faded(whole, began, keep=1) is whole


def test_half_the_weight_of_every_reward_twice_is_the_same() -> None:
    contexts, rewards = np.random.default_rng(0).normal(size=(9, 3)), np.arange(9.0)
    twice = condition(start(3), np.tile(contexts, (2, 1)), np.tile(rewards, 2), weight=0.5)
    assert close(twice, condition(start(3), contexts, rewards))
    assert condition(start(3), contexts[:0], rewards[:0]).shape == 3


def test_draws_have_the_mean_and_spread_of_the_belief() -> None:
    belief = condition(start(3), np.eye(3).repeat(20, axis=0), np.arange(60.0) % 7)
    random = np.random.default_rng(0)
    drawn = np.array([draw(belief, random) for _ in range(20_000)])
    expected = np.linalg.inv(belief.precision) * belief.noise
    assert np.allclose(drawn.mean(axis=0), belief.mean, atol=0.02)
    assert np.allclose(np.cov(drawn.T), expected, atol=0.05 * expected.max())
    assert np.array_equal(draw(belief, random, explore=0), belief.mean)


@pytest.mark.parametrize("shape", [0.5, 6.0])
def test_the_noise_is_known_even_from_little(shape: float) -> None:
    belief = prior(np.zeros(2), np.ones(2), shape=shape, rate=3.0)
    assert belief.noise == pytest.approx(0.6 if shape > 1 else 2.0)
