"""A pass that stops before the head, and logits of a few positions, on every architecture."""

import pytest
import torch

from simmerge_hub.signatures.probing.head import run_to_head
from simmerge_hub.signatures.probing.layerwise import pad
from simmerge_hub.signatures.probing.loading import open_model
from tests.signatures.conftest import ARCHITECTURES

SEQUENCES = [(1, 5, 9, 60, 7), (1, 44, 3)]


@pytest.fixture(params=ARCHITECTURES)
def model(request, tiny):
    return tiny.model_of(request.param)


def run(model):
    """The model's own logits of every real position, and what it gives its head."""
    ids, mask = pad(SEQUENCES)
    with torch.no_grad():
        whole = model(input_ids=ids, attention_mask=mask).logits[mask.bool()]
        before_head = run_to_head(model, ids, mask)
        return whole, before_head, before_head.states[mask.bool()]


def test_logits_of_any_positions_are_the_models_own(model):
    whole, before_head, states = run(model)
    with torch.no_grad():
        for places in ([0], [4, 2], range(len(states))):
            wanted = whole[list(places)]
            assert before_head.logits(states[list(places)]) == pytest.approx(wanted, abs=1e-5)


def test_what_runs_after_the_head_runs(tiny):
    model = tiny.model_of("gemma3")
    model.config.final_logit_softcapping = 0.5
    _, before_head, states = run(model)
    with torch.no_grad():
        capped = 0.5 * torch.tanh(model.lm_head(states) / 0.5)
        assert before_head.logits(states) == pytest.approx(capped, abs=1e-6)


def test_the_decoder_is_run_once_and_the_model_left_as_it_was(model):
    decoder = model.get_decoder()
    passes = []
    hook = decoder.layers[0] if hasattr(decoder, "layers") else decoder.h[0]
    handle = hook.register_forward_hook(lambda *_: passes.append(1))
    ids, mask = pad(SEQUENCES)
    with torch.no_grad():
        before = model(input_ids=ids, attention_mask=mask).logits
        passes.clear()
        before_head = run_to_head(model, ids, mask)
        for row in before_head.states[0]:
            before_head.logits(row[None])
        assert len(passes) == 1
        handle.remove()
        assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, before)
    assert not model.lm_head._forward_pre_hooks


def test_a_model_that_names_no_head_makes_all_its_logits(tiny, monkeypatch):
    model = tiny.model_of("llama")
    monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
    whole, before_head, states = run(model)
    assert torch.equal(before_head.logits(states), whole)


def test_a_decoder_that_is_not_named_is_run_again(tiny, monkeypatch):
    model = tiny.model_of("llama")
    monkeypatch.setattr(model, "get_decoder", lambda: model)
    whole, before_head, states = run(model)
    with torch.no_grad():
        assert before_head.logits(states[:2]) == pytest.approx(whole[:2], abs=1e-5)


@pytest.mark.parametrize("architecture", ["llama-tied", "gpt2"])
def test_by_layers_it_is_the_same(tiny, tmp_path, architecture):
    checkpoint = tiny.save(tiny.model_of(architecture), tmp_path / "model")
    logits = []
    for offload in (False, True):
        with open_model(checkpoint, offload=offload) as model, torch.no_grad():
            ids, mask = pad(SEQUENCES)
            before_head = run_to_head(model, ids, mask)
            logits.append(before_head.logits(before_head.states[0]))
    assert logits[1] == pytest.approx(logits[0], abs=1e-4)
