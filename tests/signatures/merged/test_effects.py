"""What an arm does to a pair, against the whole tensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from simmerge_hub.operators import ARMS, arm, find, merge_tensors
from simmerge_hub.signatures.merged.effects import (
    EFFECT_NAMES,
    EFFECTS,
    effects,
    effects_of_merge,
    swap_effects,
)
from simmerge_hub.signatures.merged.simulation import simulate_merge

TRIPLES = (arm("linear"), arm("task_arithmetic", scale=1.0), arm("linear", weights=(0.7, 0.3)))

TOLD = [each for each in ARMS if find(each.operator).on_samples]
"""Arms that sampled rows tell of."""


def named_effects(family, *arms, base=True):
    values = effects(family.expert, family.auxiliary, family.base if base else None, arms)
    return [dict(zip(EFFECT_NAMES, row, strict=True)) for row in values]


def test_shares_of_sums_are_their_weights(family):
    half, whole, unequal = named_effects(family, *TRIPLES)
    assert (half["merge_share_expert"], half["merge_share_auxiliary"]) == pytest.approx((0.5, 0.5))
    assert whole["merge_share_expert"] == pytest.approx(1)
    assert unequal["merge_share_expert"] == pytest.approx(0.7)
    for one in (half, whole, unequal):
        assert one["merge_rest"] == pytest.approx(0, abs=1e-3)
    assert (half["merge_from_expert"], half["merge_from_auxiliary"]) == pytest.approx((0.5, 0.5))
    assert unequal["merge_from_expert"] == pytest.approx(0.3, abs=1e-5)


def test_norms_and_cosines_are_those_of_the_deltas(family):
    chosen = arm("ties", density=0.2)
    (seen,) = named_effects(family, chosen)
    deltas = {"merge": [], "expert": [], "auxiliary": []}
    for name, base in family.base.sampled.items():
        models = [s.sampled[name].float() for s in (family.expert, family.auxiliary)]
        merge = merge_tensors(chosen, base, models)
        for key, tensor in zip(deltas, (merge, *models), strict=True):
            deltas[key].append((tensor - base).flatten().double())
    merge, expert, auxiliary = (torch.cat(parts) for parts in deltas.values())
    ratio = float(torch.log(merge.norm() / expert.norm()))
    assert seen["merge_norm_expert"] == pytest.approx(ratio)
    assert seen["merge_cosine_auxiliary"] == pytest.approx(
        float(merge @ auxiliary / merge.norm() / auxiliary.norm())
    )
    assert seen["merge_from_auxiliary"] == pytest.approx(
        float((merge - auxiliary).norm() / (expert - auxiliary).norm())
    )
    assert seen["merge_rest"] > 0.1


@pytest.mark.parametrize("chosen", TOLD, ids=lambda a: a.label)
def test_changing_places_swaps_the_sides(family, chosen):
    forward = effects(family.expert, family.auxiliary, family.base, [chosen])[0]
    back = effects(family.auxiliary, family.expert, family.base, [chosen.swapped()])[0]
    near = 0.05 if chosen.operator == "dare_ties" else 1e-4  # draws belong to names
    assert swap_effects(back) == pytest.approx(forward, abs=near)


@pytest.mark.parametrize("chosen", TOLD, ids=lambda a: a.label)
def test_without_a_base_only_distances_are_left(family, chosen):
    (seen,) = named_effects(family, chosen, base=False)
    expected = find(chosen.operator).space == "weight"
    for name, value in seen.items():
        assert np.isfinite(value) == (expected and not EFFECTS[name].base)


def test_a_model_that_did_not_move_has_no_cosine(family):
    values = effects(family.base, family.auxiliary, family.base, [arm("linear")])[0]
    assert np.isnan(values[EFFECT_NAMES.index("merge_cosine_expert")])
    assert values[EFFECT_NAMES.index("merge_from_expert")] == pytest.approx(0.5)


def test_no_arms(family):
    assert effects(family.expert, family.auxiliary, family.base, []).shape == (0, len(EFFECT_NAMES))


@pytest.mark.parametrize("base", [True, False])
@pytest.mark.parametrize("chosen", [arm("linear"), arm("karcher")], ids=lambda a: a.label)
def test_a_merge_made_elsewhere_is_seen_alike(family, chosen, base):
    origin = family.base if base else None
    pair = [family.expert, family.auxiliary]
    made = simulate_merge(chosen, origin, [replace(model, sketches={}) for model in pair])
    (seen,) = effects(*pair, origin, [chosen])
    assert effects_of_merge(made, *pair, origin) == pytest.approx(seen, abs=2e-3, nan_ok=True)


def test_what_sampled_rows_do_not_tell_of_has_no_effects(family):
    for chosen in (arm("regmean"), arm("delta_regmean")):
        (seen,) = named_effects(family, chosen)
        assert all(np.isnan(value) for value in seen.values())
