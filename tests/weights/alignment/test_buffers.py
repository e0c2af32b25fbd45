"""What is stored beside weights, merged as weights are, and said."""

import pytest

from simmerge_hub.weights.alignment.buffers import running_notes

LAYER = "quantizer.layers.0."


def test_running_statistics_are_named() -> None:
    (note,) = running_notes(["a.running_mean", "a.running_var", "a.weight"])
    assert note.startswith("running statistics of batch normalisation are merged as weights are: ")


@pytest.mark.parametrize(
    "names",
    [
        ("codebook.embed", "codebook.embed_avg", "codebook.cluster_size"),  # EnCodec, X-Codec
        ("codebook.embed_sum", "codebook.cluster_usage"),  # Mimi
        ("_ema_w", "_ema_cluster_size"),
    ],
)
def test_codebooks_that_are_moving_averages_are_named(names: tuple[str, ...]) -> None:
    (note,) = running_notes([LAYER + name for name in names])
    assert note.startswith("codebooks of vector quantisers, moving averages of what they were ")
    assert LAYER in note


def test_codebooks_that_are_learned_are_weights() -> None:
    assert not list(
        running_notes(["quantizer.quantizers.0.codebook.weight", "embed_tokens.weight"])
    )
