"""Features of pairs: identity, swapping, scale, what is missing, and the reference page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from simmerge_hub.errors import SignatureError
from simmerge_hub.signatures.features.registry import REGISTRY
from simmerge_hub.signatures.features.vector import (
    FEATURE_NAMES,
    FEATURE_SCHEMA,
    _drop_unusable,
    features,
    page,
)
from simmerge_hub.signatures.signing.signature import Settings

TASK = "strings"


def change_sketch(signature, **changes):
    """The signature with changed fields in its sketch."""
    return replace(signature, sketches={TASK: replace(signature.sketches[TASK], **changes)})


@pytest.fixture(scope="module")
def vector(family):
    return features(family.expert, family.auxiliary, family.base, TASK)


def test_between_60_and_120_numbers_in_a_fixed_order(vector):
    assert 60 <= len(FEATURE_NAMES) <= 120
    assert vector.names == FEATURE_NAMES == tuple(REGISTRY)
    assert (vector.values.dtype, vector.values.shape, vector.schema) == (
        np.float64, (len(FEATURE_NAMES),), FEATURE_SCHEMA,
    )  # fmt: skip


def test_nothing_is_missing_where_everything_is_there(vector):
    assert [n for n in FEATURE_NAMES if np.isnan(vector[n])] == []


def test_every_feature_is_described():
    for name, feature in REGISTRY.items():
        assert feature.summary.endswith("."), name
        assert feature.swap in ("same", "negated") or REGISTRY[feature.swap].swap == name
        assert feature.family in ("structural", "functional")


def test_swapping_the_models_swaps_the_features(family, vector):
    swapped = features(family.auxiliary, family.expert, family.base, TASK)
    for name, feature in REGISTRY.items():
        other = vector[feature.swap] if feature.swap in REGISTRY else vector[name]
        wanted = -other if feature.swap == "negated" else other
        assert swapped[name] == pytest.approx(wanted, rel=1e-5, abs=1e-7, nan_ok=True), name


def test_two_of_the_same_model(family):
    same = features(family.expert, family.expert, family.base, TASK)
    one = [
        "weight_cosine", "agreement", "agreement_end", "hidden_cka.all", "hidden_cosine.all",
        "attention_cosine", "delta_cosine.all", "support_overlap.all", "subspace_overlap",
        "drift_hidden_cosine.all", "drift_fisher_cosine", "drift_fisher_cosine_end",
    ]  # fmt: skip
    zero = [
        "weight_distance.all", "kl_mean_expert", "kl_mean_auxiliary", "js_mean", "js_q90", "js_end",
        "attention_js", "delta_log_ratio.all", "sign_conflict", "sign_conflict_trimmed.all",
        "sign_conflict_mass.all", "loss_difference", "entropy_difference", "drift_kl_log_ratio",
        "rank_log_ratio",
    ]  # fmt: skip
    assert {n: same[n] for n in one} == pytest.approx(dict.fromkeys(one, 1), abs=1e-5)
    assert {n: same[n] for n in zero} == pytest.approx(dict.fromkeys(zero, 0), abs=1e-6)


def test_a_model_that_is_the_base_has_no_direction(family):
    vector = features(family.expert, family.base, family.base, TASK)
    assert vector["delta_norm_auxiliary.all"] == 0
    assert vector["drift_kl_auxiliary"] == pytest.approx(0, abs=1e-9)
    for name in ("delta_cosine.all", "delta_log_ratio.all", "trim_energy_auxiliary",
                 "drift_hidden_cosine.all", "drift_fisher_cosine", "subspace_overlap"):  # fmt: skip
        assert np.isnan(vector[name]), name


def test_the_larger_delta_shows(vector):
    assert vector["delta_norm_expert.all"] == pytest.approx(0.1, rel=0.1)
    assert vector["delta_norm_auxiliary.all"] == pytest.approx(0.3, rel=0.1)
    assert vector["delta_log_ratio.all"] == pytest.approx(np.log(1 / 3), abs=0.05)
    assert abs(vector["delta_cosine.all"]) < 0.05
    assert vector["sign_conflict"] == pytest.approx(0.5, abs=0.05)
    for name in ("drift_kl_log_ratio", "drift_hidden_log_ratio", "drift_attention_log_ratio"):
        assert vector[name] < -0.5, name


class TestMissing:
    def test_without_a_base(self, family, vector):
        without = features(family.expert, family.auxiliary, None, TASK)
        for name, feature in REGISTRY.items():
            if "base" in feature.needs:
                assert np.isnan(without[name]), name
            else:
                assert without[name] == vector[name], name

    def test_without_probes(self, family, vector):
        for missing in ("expert", "auxiliary", "base"):
            trio = {n: family.signatures[n] for n in ("expert", "auxiliary", "base")}
            trio[missing] = replace(trio[missing], sketches={})
            without = features(*trio.values(), TASK)
            for name, feature in REGISTRY.items():
                if "behaviour" in feature.needs:
                    assert np.isnan(without[name]), name
                else:
                    assert without[name] == vector[name], name

    def test_with_other_tokens(self, family):
        other = change_sketch(family.auxiliary, tokens="other")
        without = features(family.expert, other, family.base, TASK)
        assert np.isnan(without["js_mean"])
        assert np.isfinite(without["delta_cosine.all"])

    def test_without_attention(self, family, vector):
        nothing = np.empty(0, np.float16)
        other = change_sketch(
            family.auxiliary, attention=nothing, attention_depths=nothing.astype(np.float32)
        )
        without = features(family.expert, other, family.base, TASK)
        for name, feature in REGISTRY.items():
            assert np.isnan(without[name]) == ("attention" in feature.needs), name

    def test_tied_models_have_no_head(self, tiny, tmp_path, probes):
        tied = tiny.family_of("llama-tied", tmp_path, probes)
        vector = features(tied.expert, tied.auxiliary, tied.base, TASK)
        assert {n for n in FEATURE_NAMES if np.isnan(vector[n])} == {
            n for n in FEATURE_NAMES if n.endswith(".head")
        }

    def test_different_probe_sets_are_refused(self, family):
        other = change_sketch(family.auxiliary, probes="other")
        with pytest.raises(SignatureError, match="different probe sets"):
            features(family.expert, other, family.base, TASK)

    def test_different_settings_are_refused(self, family):
        other = replace(family.auxiliary, settings=Settings(entries=5))
        with pytest.raises(SignatureError, match="different settings"):
            features(family.expert, other, family.base, TASK)

    def test_different_compute_dtypes_are_refused(self, family):
        other = replace(family.auxiliary, settings=Settings(dtype="bfloat16"))
        with pytest.raises(SignatureError, match="different settings"):
            features(family.expert, other, None, TASK)


class TestScale:
    """A model of tiled tensors is the same model, larger."""

    @staticmethod
    def tile(signature, times):
        sampled = {
            n: t.repeat(times if len(t) > 1 else 1, times) for n, t in signature.sampled.items()
        }
        shapes = {n: tuple(times * side for side in shape) for n, shape in signature.shapes.items()}
        sketch = signature.sketches[TASK]
        split = np.repeat(sketch.logprobs, times, axis=1) - np.log(times)
        return replace(
            signature,
            sampled=sampled,
            shapes=shapes,
            sketches={
                TASK: replace(
                    sketch,
                    vocabulary=times * sketch.vocabulary,
                    logprobs=split.astype(np.float32),
                    entropy=sketch.entropy + np.float32(np.log(times)),
                    loss=sketch.loss + np.float32(np.log(times)),
                    hidden=np.tile(sketch.hidden, times),
                    attention=np.tile(sketch.attention, (1, times, 1, 1)),
                )
            },
        )

    def test_width_vocabulary_and_heads(self, family, vector):
        larger = [self.tile(family.signatures[n], 3) for n in ("expert", "auxiliary", "base")]
        scaled = features(*larger, TASK)
        for name in FEATURE_NAMES:
            # trimming keeps whole entries, and ranks look at 64 rows at most
            slack = 0.03 if name.startswith(("rank", "subspace")) else 2e-3
            assert scaled[name] == pytest.approx(vector[name], rel=0.01, abs=slack), name

    def test_depth(self, family, vector):
        scaled = features(*(self.deeper(family.signatures[n])
                            for n in ("expert", "auxiliary", "base")), TASK)  # fmt: skip
        for name in FEATURE_NAMES:
            if name.endswith((".early", ".middle", ".late", ".attention", ".mlp")) or (
                name.startswith(("hidden", "drift", "attention", "rank", "kl"))
            ):
                assert scaled[name] == pytest.approx(vector[name], rel=0.02, abs=2e-3), name

    @staticmethod
    def deeper(signature):
        """Every layer twice in a row."""

        def copies(name):
            if ".layers." not in name:
                return [name]
            head, _, rest = name.partition(".layers.")
            number, _, tail = rest.partition(".")
            return [f"{head}.layers.{2 * int(number) + i}.{tail}" for i in (0, 1)]

        sketch = signature.sketches[TASK]
        twice = {
            "hidden": np.repeat(sketch.hidden, 2, axis=0),
            "depths": (np.arange(2 * len(sketch.depths), dtype=np.float32) + 0.5)
            / (2 * len(sketch.depths)),
            "attention": np.repeat(sketch.attention, 2, axis=0),
            "attention_depths": np.repeat(sketch.attention_depths, 2),
        }
        return replace(
            change_sketch(signature, **twice),
            sampled={c: t for n, t in signature.sampled.items() for c in copies(n)},
            shapes={c: s for n, s in signature.shapes.items() for c in copies(n)},
        )

    def test_probe_length(self, family, vector):
        def longer(signature):
            s = signature.sketches[TASK]
            return change_sketch(
                signature,
                **{n: np.tile(getattr(s, n), 2) for n in ("entropy", "loss", "ends")},
                logprobs=np.tile(s.logprobs, (2, 1)),
                hidden=np.tile(s.hidden, (1, 2, 1)),
                attention=np.tile(s.attention, (1, 1, 2, 1)),
            )

        scaled = features(*(longer(family.signatures[n])
                            for n in ("expert", "auxiliary", "base")), TASK)  # fmt: skip
        for name in FEATURE_NAMES:
            if "cka" not in name:  # repeated prompts are no new evidence, and CKA is debiased
                assert scaled[name] == pytest.approx(vector[name], rel=0.05, abs=1e-3), name


def test_sampling_estimates_what_everything_would_say(tiny, family, tmp_path):
    from simmerge_hub.signatures.signing.signature import sign

    few = {n: sign(c, settings=Settings(entries=8000)) for n, c in family.checkpoints.items()}
    share = sum(t.numel() for t in few["base"].sampled.values()) / sum(
        t.numel() for t in family.base.sampled.values()
    )
    assert share < 0.3
    bare = {n: replace(s, sketches={}) for n, s in family.signatures.items()}
    exact = features(bare["expert"], bare["auxiliary"], bare["base"], TASK)
    sampled = features(few["expert"], few["auxiliary"], few["base"], TASK)
    for name in ("weight_distance.all", "delta_norm_expert.all", "delta_norm_auxiliary.mlp",
                 "delta_log_ratio.attention", "trim_energy_expert", "sign_conflict"):  # fmt: skip
        assert sampled[name] == pytest.approx(exact[name], rel=0.1), name


@pytest.mark.parametrize(
    "architecture", ["qwen3", "gemma3", "mistral", "mixtral", "olmo", "olmo2", "gpt2"]
)
def test_other_architectures_miss_only_what_they_lack(architecture, tiny, tmp_path, probes):
    family = tiny.family_of(architecture, tmp_path, probes)
    vector = features(family.expert, family.auxiliary, family.base, TASK)
    lacking = {"head": "lm_head.weight", "norm": "model.norm.weight"}
    if architecture == "gpt2":
        lacking["norm"] = "transformer.ln_f.weight"
    blocks = tuple(f".{b}" for b, name in lacking.items() if name not in family.base.sampled)
    assert blocks != (".head", ".norm")
    assert {n for n in FEATURE_NAMES if np.isnan(vector[n])} == {
        n for n in FEATURE_NAMES if n.endswith(blocks)
    }


def test_what_no_predictor_can_read_is_missing():
    values = _drop_unusable(np.array([1e39, -1e39, np.inf, np.nan, -2.5]))
    assert np.array_equal(values, [np.nan] * 4 + [-2.5], equal_nan=True)


def test_the_reference_page_is_current():
    file = Path(__file__).parents[3] / "docs" / "reference" / "features.md"
    assert file.read_text(encoding="utf-8") == page()


def test_a_pair_costs_milliseconds(family):
    import time

    features(family.expert, family.auxiliary, family.base, TASK)
    start = time.process_time()
    for _ in range(5):
        features(family.expert, family.auxiliary, family.base, TASK)
    assert (time.process_time() - start) / 5 < 0.05


def test_signatures_are_forgotten_with_what_was_made_from_them(family):
    import gc
    import weakref

    expert = replace(family.expert)
    features(expert, family.auxiliary, family.base, TASK)
    gone = weakref.ref(expert)
    del expert
    gc.collect()
    assert gone() is None
    assert torch.is_tensor(family.expert.sampled["lm_head.weight"])
