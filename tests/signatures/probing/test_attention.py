"""Attention that can be recorded, with what some architectures add to it."""

from types import SimpleNamespace

import pytest
import torch

from simmerge_hub.signatures.probing.attention import probe_attention, record_attention


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 5, 8, generator=generator)
    key, value = torch.randn(2, 2, 2, 5, 8, generator=generator)
    mask = torch.full((5, 5), -1e9).triu(1)[None, None]
    return query, key, value, mask


def test_it_is_scaled_dot_product_attention(inputs):
    query, key, value, mask = inputs
    out, weights = probe_attention(SimpleNamespace(), query, key, value, mask)
    wanted = torch.nn.functional.scaled_dot_product_attention(
        query, key.repeat_interleave(2, 1), value.repeat_interleave(2, 1), attn_mask=mask
    )
    assert weights is None
    torch.testing.assert_close(out, wanted.transpose(1, 2))


def test_what_one_architecture_adds_is_in_its_own_function(inputs):
    """Inkling adds a bias by distance, which was left out of every run."""
    from transformers.models.inkling.modeling_inkling import InklingAttention

    query, key, value, mask = inputs
    module = InklingAttention.__new__(InklingAttention)
    torch.nn.Module.__init__(module)
    module.num_key_value_groups, module.layer_idx = 2, 0
    bias = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    with record_attention(frozenset({0}), torch.tensor([[1], [4]])) as recorder:
        out, _ = probe_attention(module, query, key, value, mask, scaling=0.5, position_bias=bias)
    scores = 0.5 * query @ key.repeat_interleave(2, 1).transpose(2, 3)
    weights = (scores + bias + mask).softmax(-1)
    wanted = weights @ value.repeat_interleave(2, 1)
    torch.testing.assert_close(out, wanted.transpose(1, 2))
    torch.testing.assert_close(recorder.rows[0], weights[[0, 1], :, [1, 4]][:, None])


def test_only_asked_rows_of_asked_layers_are_kept(inputs):
    queries = torch.tensor([[1, 4], [2, 2]])
    with record_attention(frozenset({1}), queries) as recorder:
        for layer in (0, 1):
            probe_attention(SimpleNamespace(layer_idx=layer), *inputs)
    assert list(recorder.rows) == [1]
    rows = recorder.rows[1]
    assert rows.shape == (2, 2, 4, 5)
    torch.testing.assert_close(rows.sum(-1), torch.ones(2, 2, 4))
    assert not rows[0, 0, :, 2:].any()
    torch.testing.assert_close(rows[1, 0], rows[1, 1])


def test_nothing_is_kept_outside(inputs):
    with record_attention(frozenset({0}), torch.tensor([[1], [1]])) as recorder:
        pass
    probe_attention(SimpleNamespace(layer_idx=0), *inputs)
    assert not recorder.rows


def test_a_sink_takes_its_share(inputs):
    query, key, value, mask = inputs
    sinks = torch.full((4,), 50.0)
    out, _ = probe_attention(SimpleNamespace(), query, key, value, mask, s_aux=sinks)
    assert out.abs().max() < 1e-6


def test_soft_capping_flattens(inputs):
    query, key, value, mask = inputs
    flat, _ = probe_attention(SimpleNamespace(), query, key, value, mask, softcap=1e-6)
    torch.testing.assert_close(
        flat[:, -1], value.repeat_interleave(2, 1).mean(2), atol=1e-4, rtol=0
    )
