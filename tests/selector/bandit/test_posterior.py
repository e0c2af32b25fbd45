"""One reward at a time is all at once; order and weights do what they should."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.selector.bandit.posterior import (
    Posterior,
    condition,
    draws,
    prior,
    update,
    widths,
)


def start(size: int, seed: int = 0) -> Posterior:
    random = np.random.default_rng(seed)
    root = random.normal(size=(size, size)) + 2 * np.eye(size)
    return Posterior(mean=random.normal(size=size), root=root, shape=3.0, rate=2.0)


def at_once(
    belief: Posterior, contexts: np.ndarray, rewards: np.ndarray, weight: float = 1.0
) -> Posterior:
    gram = contexts @ belief.covariance @ contexts.T
    weights = np.full(len(rewards), weight)
    return condition(belief, contexts, rewards, weights=weights, gram=gram)


def close(a: Posterior, b: Posterior, tolerance: float = 1e-8) -> bool:
    return (
        np.allclose(a.mean, b.mean, rtol=tolerance, atol=tolerance)
        and np.allclose(a.covariance, b.covariance, rtol=tolerance, atol=tolerance)
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
    before = np.linalg.inv(began.covariance)
    precision = before + contexts.T @ contexts
    mean = np.linalg.inv(precision) @ (before @ began.mean + contexts.T @ rewards)
    squares = rewards @ rewards + began.mean @ before @ began.mean - mean @ precision @ mean
    assert np.abs(belief.mean - mean).max() < 1e-8
    scale = np.sqrt(np.diag(belief.covariance))
    differences = belief.covariance - np.linalg.inv(precision)
    assert np.abs(differences / np.outer(scale, scale)).max() < 1e-8
    assert belief.shape == began.shape + 5_000
    assert abs(belief.rate / (began.rate + squares / 2) - 1) < 1e-8


SIZES = st.integers(1, 6)
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=50, deadline=None)
@given(size=SIZES, seed=SEEDS, count=st.integers(1, 30))
def test_updates_are_the_closed_form_in_any_order(size: int, seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    contexts, rewards = random.normal(size=(count, size)), random.normal(size=count)
    forward = backward = start(size, seed)
    for i in range(count):
        forward = update(forward, contexts[i], float(rewards[i]))
        backward = update(backward, contexts[-1 - i], float(rewards[-1 - i]))
    assert close(forward, backward, 1e-7)
    assert close(forward, at_once(start(size, seed), contexts, rewards), 1e-7)


@settings(max_examples=50, deadline=None)
@given(size=SIZES, seed=SEEDS)
def test_a_reward_makes_surer_and_moves_towards_it(size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    before, z, reward = start(size, seed), random.normal(size=size), 5 * float(random.normal())
    after = update(before, z, reward)
    assert widths(after, z[None])[0] < widths(before, z[None])[0]
    assert abs(reward - z @ after.mean) <= abs(reward - z @ before.mean)
    assert after.rate >= before.rate


def test_half_the_weight_of_every_reward_twice_is_the_same() -> None:
    contexts, rewards = np.random.default_rng(0).normal(size=(9, 3)), np.arange(9.0)
    twice = at_once(start(3), np.tile(contexts, (2, 1)), np.tile(rewards, 2), weight=0.5)
    assert close(twice, at_once(start(3), contexts, rewards))


def test_a_part_of_the_weights_is_believed_as_in_the_whole() -> None:
    random = np.random.default_rng(0)
    contexts, rewards, ones = random.normal(size=(20, 5)), random.normal(size=20), np.ones(20)
    whole = condition(prior(5), contexts, rewards, weights=ones, gram=contexts @ contexts.T)
    part = condition(prior(2), contexts[:, :2], rewards, weights=ones, gram=contexts @ contexts.T)
    assert np.allclose(part.mean, whole.mean[:2])
    assert np.allclose(part.covariance, whole.covariance[:2, :2])
    assert (part.shape, part.rate) == (whole.shape, whole.rate)


def test_draws_have_the_mean_and_spread_of_the_belief() -> None:
    belief = at_once(start(3), np.eye(3).repeat(20, axis=0), np.arange(60.0) % 7)
    contexts, random = np.array([[1.0, 0, 0], [0.5, 2, 0]]), np.random.default_rng(0)
    drawn = draws(belief, contexts, random, count=20_000)
    noise = belief.rate / (belief.shape - 1)
    expected = noise * contexts @ belief.covariance @ contexts.T
    assert np.allclose(drawn.mean(axis=0), contexts @ belief.mean, atol=0.05)
    assert np.allclose(np.cov(drawn.T), expected, atol=0.05 * expected.max())
    assert np.allclose(widths(belief, contexts) ** 2, np.diag(expected) / noise)
    assert np.array_equal(draws(belief, contexts, random, explore=0)[0], contexts @ belief.mean)
