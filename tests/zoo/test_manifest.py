from pathlib import Path

import pytest

from simmerge_hub.errors import CheckpointError
from simmerge_hub.zoo.manifest import MANIFEST_FILE, Manifest, load_manifest


def test_what_is_saved_is_loaded(tiny: Manifest) -> None:
    assert load_manifest(tiny.folder) == tiny


def test_a_model_that_is_not_there(tiny: Manifest) -> None:
    with pytest.raises(CheckpointError, match="the zoo tiny has no cde") as raised:
        tiny.path("cde")
    assert raised.value.hint == "it has base, code, math, math-lora"


@pytest.mark.parametrize("text", ["", "[]", '{"format": "simmerge-hub zoo", "schema": 99}'])
def test_what_is_not_a_zoo(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_FILE).write_text(text)
    with pytest.raises(CheckpointError, match="is not a zoo") as raised:
        load_manifest(tmp_path)
    assert "zoo build" in raised.value.hint
