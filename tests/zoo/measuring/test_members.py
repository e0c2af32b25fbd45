"""Models in memory: what a specialist changes, and a merge from that alone."""

import pytest
import torch

from simmerge_hub.operators import arm
from simmerge_hub.zoo.manifest import Manifest, load_model
from simmerge_hub.zoo.measuring.members import changes, merge_into, weights_of


def test_only_what_a_specialist_changes_is_kept(tiny: Manifest) -> None:
    base = weights_of(load_model(tiny, "base"))
    kept = changes(tiny, "math", base)  # only its MLPs were trained
    assert kept
    assert all(".mlp." in name for name in kept)
    assert len(changes(tiny, "code", base)) > len(kept)


@pytest.mark.parametrize("name", ["code", "math", "math-lora"])
def test_changes_and_base_are_the_model(name: str, tiny: Manifest) -> None:
    base = weights_of(load_model(tiny, "base"))
    kept = changes(tiny, name, base)
    for tensor, weight in weights_of(load_model(tiny, name)).items():
        wanted = kept.get(tensor, base[tensor])
        assert wanted.dtype == torch.float32
        assert torch.allclose(weight, wanted, atol=1e-6), tensor


def test_a_merge_of_changes_is_that_of_whole_models(tiny: Manifest) -> None:
    scratch = load_model(tiny, "base")
    base = weights_of(scratch)
    ties, names = arm("ties", density=0.5), ("code", "math")
    parts = {name: changes(tiny, name, base) for name in names}
    whole = {name: weights_of(load_model(tiny, name)) for name in names}
    one = weights_of(merge_into(scratch, ties, base, parts))
    other = weights_of(merge_into(scratch, ties, base, whole))
    assert one.keys() == other.keys()
    for tensor, weight in one.items():
        assert torch.equal(weight, other[tensor]), tensor


def test_what_nobody_changed_is_the_base_s_again(tiny: Manifest) -> None:
    scratch = load_model(tiny, "base")
    base = weights_of(scratch)
    with torch.no_grad():
        for weight in scratch.parameters():
            weight.zero_()
    merged = weights_of(merge_into(scratch, arm("linear"), base, {"a": {}, "b": {}}))
    assert all(torch.equal(weight, base[tensor]) for tensor, weight in merged.items())
