"""What a model says of its answers elsewhere than in its config."""

import json
from pathlib import Path

import pytest

from simmerge_hub.hub.digest import digest
from simmerge_hub.hub.generation import answering_digest, stated_generation
from simmerge_hub.hub.resolve import Checkpoint, resolve
from tests import nano


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ({"eos_token_id": [1, 106], "top_k": 4}, {"eos_token_id": [1, 106], "top_k": 4}),
        ({"eos_token_id": 1, "_from_model_config": True}, {}),
        ({"transformers_version": "9", "use_cache": False, "pad_token_id": 7}, {}),
        ({}, {}),
        (None, {}),
    ],
)
def test_what_changes_answers_and_no_config_says(
    said: dict[str, object] | None, counts: dict[str, object], tmp_path: Path
) -> None:
    model = _model(tmp_path, None if said is None else json.dumps(said))
    assert stated_generation(model) == counts
    assert (answering_digest(model) == digest(model)) is not bool(counts)


def test_what_cannot_be_read_counts_as_it_stands(tmp_path: Path) -> None:
    assert stated_generation(_model(tmp_path, "{")) == {"generation_config.json": "{"}


def test_an_adapter_generates_as_its_base_does(tmp_path: Path) -> None:
    lora = nano.lora(tmp_path / "lora")
    (lora / "generation_config.json").write_text('{"top_k": 4}')
    assert stated_generation(resolve(str(lora))) == {}


def _model(folder: Path, generation: str | None) -> Checkpoint:
    made = nano.model(folder / "model")
    config = json.loads((made / "config.json").read_text()) | {"eos_token_id": 1}
    (made / "config.json").write_text(json.dumps(config))
    (made / "generation_config.json").unlink(missing_ok=True)
    if generation is not None:
        (made / "generation_config.json").write_text(generation)
    return resolve(str(made))
