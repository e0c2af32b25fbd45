"""What configs say about the same weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.weights.alignment.align import align
from simmerge_hub.weights.alignment.meaning import (
    conflicts,
    differences,
    input_differences,
    label_conflicts,
)
from tests import nano


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Checkpoint, Checkpoint]:
    one = resolve(str(nano.model(tmp_path / "one")))
    return one, replace(one, ref=resolve(str(nano.model(tmp_path / "two"))).ref)


def with_config(checkpoint: Checkpoint, **config: Any) -> Checkpoint:
    return replace(checkpoint, config=config)


@pytest.mark.parametrize(
    ("ours", "theirs", "reasons"),
    [
        ({"n_head": 4}, {"n_head": 4}, []),
        ({"n_head": 4}, {"n_head": 2}, ["says n_head 2, in one 4"]),
        ({"n_head": 4}, {}, []),
        ({"head_dim": None}, {"head_dim": 8}, []),  # a default that one of them spells out
        ({"rope_theta": 1}, {"rope_theta": 2}, []),  # may differ
        ({"text_config": {"n_head": 4}}, {"text_config": {"n_head": 2}},
         ["says text_config.n_head 2, in one 4"]),
        ({"n_heads": 4}, {"n_heads": 2}, ["says n_heads 2, in one 4"]),
        ({"encoder_attention_heads": 4}, {"encoder_attention_heads": 2},
         ["says encoder_attention_heads 2, in one 4"]),
        ({"linear_num_key_heads": 4}, {"linear_num_key_heads": 2},
         ["says linear_num_key_heads 2, in one 4"]),
        ({"is_decoder": False}, {"is_decoder": True}, ["says is_decoder True, in one False"]),
        ({"head_dim": 8}, {"head_dim": 4}, ["says head_dim 4, in one 8"]),
        ({"d_kv": 8}, {"d_kv": 4}, ["says d_kv 4, in one 8"]),
        ({"num_experts_per_tok": 2}, {"num_experts_per_tok": 4},
         ["says num_experts_per_tok 4, in one 2"]),
        ({"model_type": "one"}, {"model_type": "two"}, ["says model_type two, in one one"]),
        ({"num_heads_shared": 4}, {"num_heads_shared": 2}, []),
        ({"text_config": {"n_head": 4}}, {"text_config": 3}, []),
        ({"text": {"n_head": 4}}, {"text": {"n_head": 2}}, []),  # no part of a model
    ],
)  # fmt: skip
def test_what_forbids_merging(
    pair: tuple[Checkpoint, Checkpoint],
    ours: dict[str, Any],
    theirs: dict[str, Any],
    reasons: list[str],
) -> None:
    reference, model = pair
    assert conflicts(with_config(reference, **ours), with_config(model, **theirs)) == reasons


def test_what_the_output_will_not_have(pair: tuple[Checkpoint, Checkpoint]) -> None:
    reference = with_config(pair[0], rope_theta=10000, hidden_act="silu", n_head=4)
    model = with_config(pair[1], rope_theta=500000, hidden_act="silu", n_head=2)
    assert differences(reference, model) == [
        "two has rope_theta 500000; the output has 10000 of one"
    ]


def test_inputs_that_are_prepared_otherwise(tmp_path: Path) -> None:
    name = "preprocessor_config.json"
    prepared = {
        "one": {"image_mean": [0.5], "size": 8, "image_processor_type": "A"},
        "same": {"size": 8, "image_mean": [0.5], "image_processor_type": "B"},
        "other": {"image_mean": [0.4], "size": 8},
    }
    for model, stated in prepared.items():
        (nano.model(tmp_path / model) / name).write_text(json.dumps(stated))
    nano.model(tmp_path / "none")
    one, same, other, none = (resolve(str(tmp_path / n)) for n in (*prepared, "none"))
    assert input_differences(one, same) == input_differences(one, none) == []
    assert input_differences(one, other) == [
        f"other has image_mean [0.4] in {name}; the output has [0.5] of one"
    ]
    assert input_differences(none, one)[0].endswith("; the output has None of none")
    assert set(input_differences(one, other)) <= set(align([one, other]).notes)


LLAMA = {"model_type": "llama", "num_attention_heads": 4, "hidden_size": 64}


@pytest.mark.parametrize(
    ("ours", "theirs", "keys"),
    [
        ({"rope_theta": 5e5}, {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, []),
        ({"rope_theta": 5e5}, {"rope_parameters": {"rope_type": "default", "rope_theta": 2e7}},
         ["rope_parameters"]),
        ({}, {"rope_theta": 2e7}, ["rope_parameters"]),
        ({}, {"rope_theta": 1e4}, []),  # the default of a Llama
        ({"rope_scaling": None}, {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
         ["rope_parameters"]),
        ({"head_dim": None}, {"head_dim": 16}, []),
        ({}, {"num_key_value_heads": 4}, []),
        ({"final_logit_softcapping": None}, {"final_logit_softcapping": 30.0},
         ["final_logit_softcapping"]),
        ({}, {"max_position_embeddings": 1024}, ["max_position_embeddings"]),
        ({"initializer_range": 1}, {"initializer_range": 2, "use_cache": False}, []),
    ],
)  # fmt: skip
def test_configs_are_compared_as_transformers_reads_them(
    pair: tuple[Checkpoint, Checkpoint],
    ours: dict[str, Any],
    theirs: dict[str, Any],
    keys: list[str],
) -> None:
    reference, model = (
        with_config(c, **LLAMA, **more) for c, more in zip(pair, (ours, theirs), strict=True)
    )
    assert [s.split()[2] for s in differences(reference, model)] == keys
    assert conflicts(reference, model) == []


def test_a_default_may_conflict(pair: tuple[Checkpoint, Checkpoint]) -> None:
    """Who does not state key-value heads has as many as heads."""
    reference = with_config(pair[0], **LLAMA)
    model = with_config(pair[1], **LLAMA, num_key_value_heads=2)
    assert conflicts(reference, model) == ["says num_key_value_heads 2, in one 4"]


def test_labels_in_another_order(tmp_path: Path) -> None:
    head = {"classifier.weight": torch.ones(2, 4)}
    names = [{"0": "bad", "1": "good"}, {"0": "LABEL_0", "1": "LABEL_1"}, {"0": "good", "1": "bad"}]
    models = {
        f"m{i}": resolve(str(nano.save(tmp_path / f"m{i}", head, config={"id2label": labels})))
        for i, labels in enumerate(names)
    }
    assert list(label_conflicts(models)) == [("m2", "says label 0 is 'good', in m0 'bad'")]
    bodies = {n: replace(m, tensors={}) for n, m in models.items()}
    assert list(label_conflicts(bodies)) == []  # there is no head


def test_long_settings_are_cut(pair: tuple[Checkpoint, Checkpoint]) -> None:
    reference = with_config(pair[0], rope_scaling="x" * 60)
    model = with_config(pair[1], rope_scaling="y" * 61)
    (sentence,) = differences(reference, model)
    assert f"rope_scaling {'y' * 57}...;" in sentence
    assert f"has {'x' * 60} of" in sentence
