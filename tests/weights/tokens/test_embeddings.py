"""Vocabulary tensors are told from names, shapes and vocab_size, whatever the architecture."""

from typing import Any

import pytest

from simmerge_hub.weights.tokens.embeddings import other_tables, vocabulary_tensors

LLAMA = {
    "model.embed_tokens.weight": (20, 8),
    "model.layers.0.mlp.up_proj.weight": (20, 8),
    "model.norm.weight": (8,),
    "lm_head.weight": (20, 8),
}
MTP = {
    "model.layers.1.embed_tokens.weight": (20, 8),
    "model.layers.1.shared_head.head.weight": (20, 8),
}
BERT = {
    "bert.embeddings.word_embeddings.weight": (30, 8),
    "bert.embeddings.position_embeddings.weight": (30, 8),
    "bert.embeddings.token_type_embeddings.weight": (2, 8),
    "bert.encoder.layer.0.output.dense.bias": (30,),
    "cls.predictions.transform.dense.weight": (8, 8),
    "cls.predictions.bias": (30,),
}
T5 = {"shared.weight": (32, 8), "encoder.block.0.layer.0.q.weight": (32, 8)}


@pytest.mark.parametrize(
    ("shapes", "config", "rows", "names"),
    [
        (LLAMA, {"vocab_size": 20}, 20, {"model.embed_tokens.weight", "lm_head.weight"}),
        (BERT, {"vocab_size": 30}, 30,
         {"bert.embeddings.word_embeddings.weight", "cls.predictions.bias"}),
        (T5, {"vocab_size": 32}, 32, {"shared.weight"}),
        (LLAMA, {"vision_config": {"vocab_size": 7}, "text_config": {"vocab_size": 20}}, 20,
         {"model.embed_tokens.weight", "lm_head.weight"}),
        (LLAMA, {"thinker_config": {"text_config": {"vocab_size": 20}}}, 20,
         {"model.embed_tokens.weight", "lm_head.weight"}),
        ({"model.shared.weight": (32, 8), "final_logits_bias": (1, 32), "scale": (1, 32)},
         {"vocab_size": 32}, 32, {"model.shared.weight", "final_logits_bias"}),
        (LLAMA | MTP, {"vocab_size": 20}, 20,
         {"model.embed_tokens.weight", "lm_head.weight", *MTP}),
        (LLAMA, {"vocab_size": 21}, None, set()),
        (LLAMA, {"vocab_size": True, "x": {"vocab_size": "20"}, "y": {"vocab_size": -1}}, None,
         set()),
        (LLAMA, {}, None, set()),
        ({"transformer.wte.weight": (9, 4), "post_embed.weight": (9, 4)}, {"vocab_size": 9}, 9,
         {"transformer.wte.weight", "post_embed.weight"}),
    ],
)  # fmt: skip
def test_by_architecture(
    shapes: dict[str, tuple[int, ...]], config: dict[str, Any], rows: int | None, names: set[str]
) -> None:
    assert vocabulary_tensors(shapes, config) == (rows, names)


def test_a_model_as_wide_as_its_vocabulary() -> None:
    """Then a norm's bias has as many entries as there are tokens, and is none of theirs."""
    shapes = {"wte.weight": (8, 8), "ln_f.weight": (8,), "ln_f.bias": (8,),
              "lm_head.weight": (8, 8), "lm_head.bias": (8,)}  # fmt: skip
    _, tensors = vocabulary_tensors(shapes, {"vocab_size": 8})
    assert tensors == {"wte.weight", "lm_head.weight", "lm_head.bias"}


def test_a_further_table_knows_as_many_tokens_as_are_stated() -> None:
    """What is stated as no number is of no table."""
    shapes = {"table.weight": (12, 8), "embed_tokens.weight": (20, 8), "norm.weight": (12,)}
    stated = {"vocab_size": 20, "vocab_size_per_layer_input": 12}
    assert other_tables(shapes, stated, {"embed_tokens.weight"}) == {"table.weight": 12}
    for odd in ([12], {"a": 12}, "12", True, None):
        assert other_tables(shapes, {"vocab_size_per_layer_input": odd}, ()) == {}
