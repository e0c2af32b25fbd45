"""Merged signatures against signatures of merges that were really built."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from simmerge_hub.errors import OperatorError, SignatureError
from simmerge_hub.operators import ARMS, arm, merge_tensors
from simmerge_hub.signatures.features.vector import features
from simmerge_hub.signatures.measures.comparison import compare
from simmerge_hub.signatures.merged import simulation
from simmerge_hub.signatures.merged.simulation import (
    ESTIMATED_STATISTICS,
    FIRST_ORDER,
    simulate_merge,
)
from simmerge_hub.signatures.signing.signature import Settings, sign

TASK = "strings"


def build(chosen, family, tiny, folder):
    """The merge itself, saved and signed."""
    from transformers import AutoModelForCausalLM

    models = [
        AutoModelForCausalLM.from_pretrained(family.checkpoints[n].ref.folder)
        for n in ("base", "expert", "auxiliary")
    ]
    base, expert, auxiliary = (m.state_dict() for m in models)
    with torch.no_grad():
        for name, tensor in base.items():
            tensor.copy_(merge_tensors(chosen, tensor.clone(), [expert[name], auxiliary[name]]))
    return sign(tiny.save(models[0], folder), probe_sets=[family.probes])


SETTLED = [one for one in ARMS if one.operator != "dare_ties"]
"""Arms without random numbers: those belong to names, and a merge built here has none."""


@pytest.mark.parametrize("chosen", SETTLED, ids=lambda a: a.label)
def test_structure_is_that_of_the_real_merge(chosen, family, tiny, tmp_path):
    merge = simulate_merge(chosen, family.base, [family.expert, family.auxiliary])
    real = build(chosen, family, tiny, tmp_path / "merge")
    assert merge.sampled.keys() == real.sampled.keys()
    for name, tensor in real.sampled.items():
        torch.testing.assert_close(merge.sampled[name], tensor, atol=1e-6, rtol=1e-5)
    assert merge.kind == "merge"
    assert merge.approximate == (FIRST_ORDER,)


def test_behaviour_is_nearer_to_the_real_merge_than_its_models_are(tiny, tmp_path, probes):
    """Small deltas, where the first order is most of it."""
    scales = {"base": 0.0, "expert": 0.02, "auxiliary": 0.02}
    checkpoints = {
        n: tiny.save(tiny.perturb(tiny.model_of("llama"), scale, seed), tmp_path / n)
        for seed, (n, scale) in enumerate(scales.items())
    }
    signatures = {n: sign(c, probe_sets=[probes]) for n, c in checkpoints.items()}

    class Small:
        pass

    family = Small()
    family.checkpoints, family.probes = checkpoints, probes
    for chosen in (arm("linear"), arm("task_arithmetic", scale=1.0)):
        real = build(chosen, family, tiny, tmp_path / chosen.operator).sketches[TASK]
        merge = simulate_merge(
            chosen, signatures["base"], [signatures["expert"], signatures["auxiliary"]]
        ).sketches[TASK]
        error = compare(real, merge).js.mean()
        others = [compare(real, s.sketches[TASK]).js.mean() for s in signatures.values()]
        assert error < 0.35 * min(others)


def test_one_model_alone_is_itself(family):
    merge = simulate_merge(arm("linear"), family.base, [family.expert])
    sketch, wanted = merge.sketches[TASK], family.expert.sketches[TASK]
    for name in ("logprobs", "entropy", "loss", "hidden", "attention"):
        assert getattr(sketch, name) == pytest.approx(getattr(wanted, name), abs=2e-3), name


def test_shares_are_the_weights_where_the_merge_is_linear(family):
    models = [family.expert, family.auxiliary]

    def shares(chosen):
        sampled = simulate_merge(chosen, family.base, models).sampled
        return simulation._shares(sampled, family.base, models)

    assert shares(arm("linear", weights=(0.7, 0.3))) == pytest.approx([0.7, 0.3], abs=1e-4)
    assert shares(arm("task_arithmetic", scale=0.6)) == pytest.approx([0.6, 0.6], abs=1e-4)
    ties = shares(arm("ties", density=0.2))
    assert np.all((ties > 0.3) & (ties < 1.1))


def test_equal_models_share_equally(family):
    sampled = simulate_merge(arm("linear"), family.base, [family.expert, family.expert]).sampled
    shares = simulation._shares(sampled, family.base, [family.expert, family.expert])
    assert shares == pytest.approx([0.5, 0.5], abs=1e-4)


def test_a_merge_has_all_features_and_can_be_merged_again(family):
    first = simulate_merge(arm("ties", density=0.2), family.base, [family.expert, family.auxiliary])
    second = simulate_merge(arm("slerp"), family.base, [first, family.expert])
    for signature in (first, second):
        values = features(signature, family.auxiliary, family.base, TASK).values
        assert np.isfinite(values).all()
    assert second.name == "slerp(ties(density=0.2)(expert, auxiliary), expert)"
    assert first.digest != second.digest


def test_distributions_and_attention_stay_proper(family):
    for chosen in ARMS:
        sketch = simulate_merge(chosen, family.base, [family.expert, family.auxiliary]).sketches[
            TASK
        ]
        total = np.exp(sketch.logprobs.astype(np.float64)).sum(1)
        assert total == pytest.approx(1, abs=1e-4)
        rows = sketch.attention.astype(np.float64)
        assert rows.min() >= 0
        assert rows.sum(-1) == pytest.approx(1, abs=5e-3)


def test_without_a_base_weights_are_averaged(family):
    merge = simulate_merge(arm("linear"), None, [family.expert, family.auxiliary])
    name = "lm_head.weight"
    wanted = (family.expert.sampled[name] + family.auxiliary.sampled[name]) / 2
    torch.testing.assert_close(merge.sampled[name], wanted)
    assert np.isfinite(features(merge, family.expert, family.base, TASK).values).all()


def test_an_operator_on_deltas_needs_the_base(family):
    with pytest.raises(OperatorError, match="needs a base"):
        simulate_merge(arm("ties"), None, [family.expert, family.auxiliary])


def test_sampled_statistics_are_labelled(family):
    few = [
        sign(family.checkpoints[n], settings=Settings(entries=3000))
        for n in ("base", "expert", "auxiliary")
    ]
    assert simulate_merge(arm("ties"), few[0], few[1:]).approximate == (ESTIMATED_STATISTICS,)
    assert simulate_merge(arm("linear"), few[0], few[1:]).approximate == ()
    with pytest.raises(SignatureError, match="looks at all rows of a tensor, and signatures hold"):
        simulate_merge(arm("delta_regmean"), few[0], few[1:])


def test_tasks_not_all_have_are_dropped(family):
    bare = replace(family.auxiliary, sketches={})
    assert simulate_merge(arm("linear"), family.base, [family.expert, bare]).sketches == {}


@pytest.mark.parametrize("other", [{"probes": "else"}, {"tokens": "else"}], ids=["P", "T"])
def test_tasks_that_cannot_be_compared_are_dropped(family, other):
    sketch = replace(family.auxiliary.sketches[TASK], **other)
    odd = replace(family.auxiliary, sketches={TASK: sketch})
    assert simulate_merge(arm("linear"), family.base, [family.expert, odd]).sketches == {}


def test_a_merge_says_only_tokens_that_all_of_its_models_have(family):
    """Also where the first knows more: the merge is then compared with a third that does."""
    known = family.expert.sketches[TASK]
    more = np.full((len(known.logprobs), 2), -30, np.float32)
    wide = replace(
        known, vocabulary=known.vocabulary + 2, logprobs=np.concatenate([known.logprobs, more], 1)
    )
    grown = replace(family.expert, sketches={TASK: wide})
    merge = simulate_merge(arm("linear"), family.base, [grown, family.auxiliary])
    assert merge.sketches[TASK].vocabulary == merge.sketches[TASK].logprobs.shape[1]
    assert np.isfinite(features(merge, grown, family.base, TASK)["js_mean"])


def test_different_settings_are_refused(family):
    other = replace(family.auxiliary, settings=Settings(entries=7))
    with pytest.raises(SignatureError, match="different settings"):
        simulate_merge(arm("linear"), family.base, [family.expert, other])


def test_kept_tokens_merge_to_kept_tokens(tiny, tmp_path, probes, monkeypatch, assets):
    from simmerge_hub.signatures.probing.forward import capture

    monkeypatch.setattr(capture, "WHOLE_VOCABULARY", 10)
    monkeypatch.setattr(capture, "TOP_TOKENS", 30)
    family = tiny.family_of("llama", tmp_path, probes)
    merge = simulate_merge(arm("linear"), family.base, [family.expert, family.auxiliary])
    sketch = merge.sketches[TASK]
    total = np.where(sketch.ids >= 0, np.exp(sketch.logprobs.astype(np.float64)), 0).sum(1)
    assert total + np.exp(sketch.tail) == pytest.approx(1, abs=1e-4)
    assert np.isfinite(features(merge, family.expert, family.base, TASK).values).all()
