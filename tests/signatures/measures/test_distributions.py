"""KL and JS against answers made by hand; kept tokens against whole distributions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.signatures.measures.distributions import align_outcomes, divergences, js, kl
from simmerge_hub.signatures.probing.sketch import Sketch

seeds = st.integers(0, 2**32 - 1)


def logprobs(seed, positions=6, outcomes=11, sharpness=2.0):
    scores = sharpness * np.random.default_rng(seed).standard_normal((positions, outcomes))
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def sketch(logp, kept=None):
    """A sketch that knows whole distributions, or the `kept` most likely tokens."""
    empty = np.empty(0, np.float32)
    ids, tail = empty.astype(np.int32), empty
    vocabulary = logp.shape[1]
    if kept:
        order = np.argsort(-logp, axis=1)
        ids = order[:, :kept].astype(np.int32)
        rest = np.take_along_axis(np.exp(logp), order[:, kept:], 1).sum(1)
        tail = np.log(np.maximum(rest, 1e-30)).astype(np.float32)
        logp = np.take_along_axis(logp, order[:, :kept], 1)
    return Sketch(
        probes="", tokens="", vocabulary=vocabulary, logprobs=logp.astype(np.float32), ids=ids,
        tail=tail, entropy=empty, loss=empty, ends=np.ones(len(logp), bool), hidden=empty,
        depths=empty, attention=empty, attention_depths=empty,
    )  # fmt: skip


def test_by_hand():
    p, q = np.log([0.5, 0.5]), np.log([0.75, 0.25])
    assert kl(p, q) == pytest.approx(0.5 * np.log(2 / 3) + 0.5 * np.log(2))
    m = np.array([0.625, 0.375])
    wanted = (
        0.5 * (0.5 * np.log(0.5 / m)).sum() + 0.5 * ([0.75, 0.25] * np.log([0.75, 0.25] / m)).sum()
    )
    assert js(p, q) == pytest.approx(wanted)


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_all_three_at_once_are_those_taken_apart(seed):
    p, q = (logprobs(s).astype(np.float32) for s in (seed, seed + 1))
    forward, backward, both = divergences(p, q)
    assert forward == pytest.approx(kl(p, q), rel=1e-5, abs=1e-7)
    assert backward == pytest.approx(kl(q, p), rel=1e-5, abs=1e-7)
    assert both == pytest.approx(js(p, q), rel=1e-5, abs=1e-7)


def test_disjoint_distributions_are_log_two_apart():
    p, q = np.array([0.0, -80.0]), np.array([-80.0, 0.0])
    assert js(p, q) == pytest.approx(np.log(2))


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_js_is_symmetric_bounded_and_zero_of_itself(seed):
    p, q = logprobs(seed), logprobs(seed + 1)
    assert js(p, q) == pytest.approx(js(q, p))
    assert np.all((js(p, q) >= 0) & (js(p, q) <= np.log(2) + 1e-12))
    assert js(p, p) == pytest.approx(0, abs=1e-12)
    assert kl(p, p) == pytest.approx(0, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_splitting_every_token_in_two_changes_nothing(seed):
    p, q = logprobs(seed), logprobs(seed + 1)
    split_p, split_q = (np.repeat(x, 2, axis=1) - np.log(2) for x in (p, q))
    assert kl(split_p, split_q) == pytest.approx(kl(p, q))
    assert js(split_p, split_q) == pytest.approx(js(p, q))


@settings(deadline=None, max_examples=50)
@given(seeds, st.integers(2, 11))
def test_kept_tokens_give_proper_distributions_and_a_lower_bound(seed, kept):
    p, q = logprobs(seed), logprobs(seed + 1)
    aligned = align_outcomes([sketch(p, kept), sketch(q, kept)])
    for one in aligned.logprobs:
        assert np.exp(one.astype(np.float64)).sum(1) == pytest.approx(1, abs=1e-5)
    for divergence in (kl, js):
        low, whole = divergence(*aligned.logprobs), divergence(p, q)
        assert np.all(low <= whole + 1e-5)


def test_all_tokens_kept_is_exact():
    p, q = logprobs(0), logprobs(1)
    aligned = align_outcomes([sketch(p, 11), sketch(q, 11)])
    assert kl(*aligned.logprobs) == pytest.approx(kl(p, q), abs=1e-5)


def test_the_error_of_256_kept_of_a_large_vocabulary_is_small():
    """Zipf-like distributions, and drifts of a fine-tune's size."""
    random = np.random.default_rng(0)
    scores = -1.6 * np.log(1 + random.permuted(np.tile(np.arange(20_000), (8, 1)), axis=1))
    p = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    moved = scores + 0.5 * random.standard_normal(scores.shape)
    q = moved - np.logaddexp.reduce(moved, axis=1, keepdims=True)
    aligned = align_outcomes([sketch(p, 256), sketch(q, 256)])
    whole, kept = kl(p, q).mean(), kl(*aligned.logprobs).mean()
    assert whole > 0.05
    assert 0.9 * whole < kept <= whole + 1e-6


def test_three_models_share_their_common_tokens():
    logs = [logprobs(i) for i in range(3)]
    aligned = align_outcomes([sketch(x, 6) for x in logs])
    for position in range(6):
        tops = [set(np.argsort(-x[position])[:6]) for x in logs]
        kept = {int(i) for i in aligned.ids[position] if i >= 0}
        assert kept == set.intersection(*tops)
        for column, token in enumerate(aligned.ids[position]):
            if token >= 0:
                assert aligned.logprobs[1][position, column] == pytest.approx(
                    logs[1][position, token], abs=1e-5
                )


@pytest.mark.parametrize("kept", [None, 5])
def test_tokens_that_only_one_model_has_are_left_out(kept):
    """What is compared is what both say if it is a token that both have."""
    plain, more = logprobs(0), logprobs(1, outcomes=13)
    shared = more[:, :11] - np.logaddexp.reduce(more[:, :11], axis=1, keepdims=True)
    wanted = js(plain, shared)
    for sketches in ([plain, more], [more, plain]):
        aligned = align_outcomes([sketch(each, kept) for each in sketches])
        got = js(*aligned.logprobs)
        if kept is None:
            assert got == pytest.approx(wanted, abs=1e-6)
            assert not aligned.ids.size
        else:
            assert np.all(got <= wanted + 1e-6)
            assert aligned.ids.max() < 11
            whole = np.exp(np.stack(aligned.logprobs).astype(np.float64)).sum(-1)
            assert whole == pytest.approx(np.ones_like(whole), abs=1e-5)
