"""What a forward pass leaves behind, against the model asked directly, on every architecture."""

import numpy as np
import pytest
import torch

from simmerge_hub.errors import ProbeError
from simmerge_hub.signatures.probing import forward as sketches
from simmerge_hub.signatures.probing.attention import register
from simmerge_hub.signatures.probing.forward import capture, sketch
from simmerge_hub.signatures.probing.sketch import POSITIONS
from tests.signatures.conftest import ARCHITECTURES

PROMPTS = ["sort dbca>", "ab", "reverse the letters of abcdefgh, then say why>", "count aabba>"]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def case(request, tiny):
    """A model, its plain outputs for each prompt alone, and its sketch."""
    model, tokenizer = tiny.model_of(request.param), tiny.letters()
    with torch.no_grad():
        plain = [
            model(
                torch.tensor([tokenizer(p)["input_ids"]]),
                output_hidden_states=True,
                output_attentions=True,
            )
            for p in PROMPTS
        ]
    model.set_attn_implementation(register())
    return plain, sketch(model, tokenizer, PROMPTS)


def places(tokenizer, limit=128):
    return [sketches._prompt(p, tokenizer, limit) for p in PROMPTS]


def test_distributions_and_loss_are_the_models_own(case, tiny):
    plain, sketched = case
    prompts = places(tiny.letters())
    wanted = [
        out.logits[0].log_softmax(-1)[list(p.positions)]
        for out, p in zip(plain, prompts, strict=True)
    ]
    assert sketched.logprobs == pytest.approx(torch.cat(wanted).numpy(), abs=2e-4)
    entropy = -(torch.cat(wanted).exp() * torch.cat(wanted)).sum(1)
    assert sketched.entropy == pytest.approx(entropy.numpy(), abs=2e-4)
    losses = [
        torch.nn.functional.cross_entropy(out.logits[0, :-1], torch.tensor(p.ids[1:])).item()
        for out, p in zip(plain, prompts, strict=True)
    ]
    assert sketched.loss == pytest.approx(losses, abs=2e-4)


def test_hidden_states_and_attention_are_the_models_own(case, tiny):
    plain, sketched = case
    prompts = places(tiny.letters())
    assert sketched.depths == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    for layer in range(2):  # the last one is normalised in what the model returns
        wanted = [
            out.hidden_states[layer + 1][0, list(p.positions)]
            for out, p in zip(plain, prompts, strict=True)
        ]
        assert sketched.hidden[layer] == pytest.approx(torch.cat(wanted).numpy(), abs=2e-3)
    assert sketched.attention.shape[:2] == (3, 4)
    column = 0
    for out, p in zip(plain, prompts, strict=True):
        for query in p.queries:
            for layer in range(3):
                row = out.attentions[layer][0, :, query].numpy()
                kept = sketched.attention[layer, :, column]
                assert kept[:, : row.shape[1]] == pytest.approx(row, abs=2e-3)
                assert not kept[:, row.shape[1] :].any()
            column += 1
    assert column == sketched.attention.shape[2]


def test_every_prompt_keeps_its_end_and_a_few_positions(tiny):
    prompts = places(tiny.letters())
    assert [len(p.positions) for p in prompts] == [POSITIONS, 2, POSITIONS, POSITIONS]
    for p in prompts:
        assert p.positions[-1] == p.queries[-1] == len(p.ids) - 1
        assert 0 not in p.positions
        assert set(p.queries) <= set(p.positions)
        assert list(p.positions) == sorted(set(p.positions))


def test_long_prompts_are_cut(tiny):
    assert [len(p.ids) for p in places(tiny.letters(), limit=10)] == [10, 3, 10, 10]


def test_one_token_is_no_prompt(tiny):
    tokenizer = tiny.letters()
    with pytest.raises(ProbeError, match="fewer than two tokens"):
        sketches._prompt("", tokenizer, 128)


def test_batches_do_not_matter(tiny, monkeypatch):
    model, tokenizer = tiny.model_of("llama"), tiny.letters()
    model.set_attn_implementation(register())
    whole = sketch(model, tokenizer, PROMPTS)
    calls = []
    monkeypatch.setattr(sketches, "BATCH_TOKENS", 1)
    single = sketch(model, tokenizer, PROMPTS, progress=lambda done, n: calls.append((done, n)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert_same(single, whole)


@pytest.mark.parametrize(("entries", "positions"), [(1, 1), (96 * 5 + 7, 5)])
def test_logits_are_made_of_a_few_positions_at_a_time(tiny, entries, positions):
    model, tokenizer = tiny.model_of("llama"), tiny.letters()
    model.set_attn_implementation(register())
    whole = sketch(model, tokenizer, PROMPTS)
    made = []
    model.lm_head.register_forward_hook(lambda *given: made.append(given[-1].shape[1]))
    assert_same(sketch(model, tokenizer, PROMPTS, entries=entries), whole)
    assert max(made) == positions
    assert sum(made) == sum(len(tokenizer(p)["input_ids"]) for p in PROMPTS)  # and none of padding


def assert_same(one, other):
    """Two sketches of one model, to rounding."""
    assert one.tokens == other.tokens
    for name in ("logprobs", "hidden", "attention", "entropy", "loss", "ends"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-3)


def test_large_vocabularies_keep_the_most_likely_tokens(tiny, monkeypatch):
    model, tokenizer = tiny.model_of("llama"), tiny.letters()
    whole = sketch(model, tokenizer, PROMPTS)
    monkeypatch.setattr(capture, "WHOLE_VOCABULARY", 10)
    monkeypatch.setattr(capture, "TOP_TOKENS", 20)
    cut = sketch(model, tokenizer, PROMPTS)
    assert cut.logprobs.shape == cut.ids.shape == (len(whole.ends), 20)
    kept = np.take_along_axis(whole.logprobs, cut.ids, 1)
    assert cut.logprobs == pytest.approx(kept, abs=1e-5)
    assert np.exp(cut.logprobs).sum(1) + np.exp(cut.tail) == pytest.approx(1, abs=1e-4)
    assert cut.entropy == pytest.approx(whole.entropy, abs=1e-5)


def test_projection_keeps_inner_products():
    rows = torch.randn(2, 4096, generator=torch.Generator().manual_seed(0))
    rows[1] += rows[0]
    small = capture._project(rows)
    assert small.shape == (2, capture.SKETCH_WIDTH)
    wanted = torch.nn.functional.cosine_similarity(rows[0], rows[1], dim=0)
    assert torch.nn.functional.cosine_similarity(small[0], small[1], dim=0) == pytest.approx(
        float(wanted), abs=0.1
    )


def test_without_replaceable_attention_it_is_missing(tiny):
    plain = sketch(tiny.model_of("llama"), tiny.letters(), PROMPTS)
    assert not plain.attention.size
    assert not plain.attention_depths.size


def test_deep_models_keep_some_layers():
    assert sketches._spread_layers(3, 8) == [0, 1, 2]
    assert sketches._spread_layers(32, 8) == [3, 7, 11, 15, 19, 23, 27, 31]
