"""What a run takes is known from sizes of files."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.learning.cost import weight_bytes
from tests import nano


def test_weights_in_bin_files_have_bytes_too(tmp_path: Path) -> None:
    folder = nano.model(tmp_path / "model")
    stored = folder / "model.safetensors"
    assert weight_bytes(resolve(str(folder))) == stored.stat().st_size
    torch.save(load_file(stored), folder / "pytorch_model.bin")
    stored.unlink()
    converted = resolve(str(folder))
    assert converted.weight_files == ("pytorch_model.bin",)
    assert weight_bytes(converted) == (folder / "pytorch_model.bin").stat().st_size
