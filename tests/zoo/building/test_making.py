"""What a model's weights follow from, and how it lies on the disk."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from simmerge_hub.zoo.building.making import as_fields, training_digest
from simmerge_hub.zoo.catalogue import Catalogue, load_catalogue
from simmerge_hub.zoo.manifest import Manifest
from simmerge_hub.zoo.training import BaseSpec
from tests.zoo.conftest import TINY


@pytest.fixture
def catalogue() -> Catalogue:
    return load_catalogue(TINY)


def changed(catalogue: Catalogue, name: str, **fields: Any) -> Catalogue:
    spec = replace(catalogue.specialists[name], **fields)
    return replace(catalogue, specialists={**catalogue.specialists, name: spec})


def test_a_digest_is_the_built_model_s(catalogue: Catalogue, tiny: Manifest) -> None:
    for name, entry in tiny.models.items():
        assert training_digest(catalogue, tiny, name) == entry.digest


def test_a_digest_changes_with_what_the_weights_follow_from(
    catalogue: Catalogue, tiny: Manifest
) -> None:
    base = tiny.models["base"]
    others = [
        (changed(catalogue, "code", seed=9), tiny),
        (changed(catalogue, "code", rank=4), tiny),
        (replace(catalogue, threads=2), tiny),
        (replace(catalogue, namespace="elsewhere"), tiny),
        (catalogue, tiny.with_entry("base", replace(base, sha256="0" * 64))),
        (catalogue, replace(tiny, tasks={**tiny.tasks, "code": "code/reverse-next"})),
    ]
    digests = {training_digest(*other, "code") for other in others}
    assert len(digests) == len(others)
    assert tiny.models["code"].digest not in digests


def test_a_digest_does_not_change_with_anything_else(catalogue: Catalogue, tiny: Manifest) -> None:
    for other in (
        changed(catalogue, "math", seed=9),
        replace(catalogue, evaluation=8, keep_above=0.9, processes=4, probes=2),
    ):
        assert training_digest(other, tiny, "code") == tiny.models["code"].digest


def test_a_base_that_was_shown_tasks_follows_from_them(
    catalogue: Catalogue, tiny: Manifest
) -> None:
    spec = BaseSpec(seed=1, steps=1, origin="base", exposed={"math": 0.1})
    shown = replace(catalogue, bases={**catalogue.bases, "shown": spec})
    one = training_digest(shown, tiny, "shown")
    other = replace(tiny, tasks={**tiny.tasks, "math": "math/next"})
    assert training_digest(shown, other, "shown") != one
    base = replace(tiny.models["base"], sha256="0" * 64)
    assert training_digest(shown, tiny.with_entry("base", base), "shown") != one


def test_what_a_spec_leaves_out_is_no_field(catalogue: Catalogue) -> None:
    fields = as_fields(catalogue.specialists["code"])
    assert "rank" not in fields
    assert fields["replay"] is False  # said, not left out


def test_a_model_lies_there_in_bfloat16_with_its_tokenizer(tiny: Manifest) -> None:
    for name, file in (("code", "model"), ("math-lora", "adapter_model")):
        weights = load_file(tiny.path(name) / f"{file}.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
        assert (tiny.path(name) / "tokenizer.json").exists()
        assert not (tiny.path(name) / "README.md").exists()


def test_an_adapter_s_config_is_in_one_order(tiny: Manifest) -> None:
    text = (tiny.path("math-lora") / "adapter_config.json").read_text()
    fields = json.loads(text)
    assert list(fields) == sorted(fields)
    assert fields["target_modules"] == sorted(fields["target_modules"])
    assert fields["base_model_name_or_path"] == "tiny-zoo/base"
