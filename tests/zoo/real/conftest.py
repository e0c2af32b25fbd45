"""A tiny random Gemma 3 as GGUF, in pieces, in packages that look installed."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from simmerge_hub.zoo.build import build
from simmerge_hub.zoo.manifest import Manifest

PACKAGE = "tiny-gemma-gguf"
WIDTH, LAYERS, HEADS, KEY, INNER = 32, 2, 2, 16, 48
SPECIALS = ["<pad>", "<eos>", "<bos>", "<unk>"]
TEXT_TINY = Path(__file__).with_name("tiny.yaml")


def _tokens() -> list[str]:
    letters = [chr(c) for c in range(33, 127)] + list("äöüßéèêçñáíóú") + ["▁"]
    return [*SPECIALS, *(f"<0x{b:02X}>" for b in range(256)), *letters, "▁a", "an", "▁an"]


def write_gguf(path: Path) -> None:
    """A Gemma 3 of two layers with random weights and a tokenizer of single characters."""
    tokens = _tokens()
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_key_length(KEY)
    writer.add_value_length(KEY)
    writer.add_rope_freq_base(1e6)
    writer.add_sliding_window(64)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 260 + [-float(i) for i in range(len(tokens) - 260)])
    writer.add_token_types([3, 3, 3, 2] + [6] * 256 + [1] * (len(tokens) - 260))
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    for name, shape in _shapes(len(tokens)).items():
        writer.add_tensor(name, _weights(name, shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _shapes(words: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (words, WIDTH), "output_norm.weight": (WIDTH,),
    }  # fmt: skip
    for i in range(LAYERS):
        shapes |= {
            f"blk.{i}.{name}.weight": shape
            for name, shape in {
                "attn_q": (HEADS * KEY, WIDTH), "attn_k": (KEY, WIDTH), "attn_v": (KEY, WIDTH),
                "attn_output": (WIDTH, HEADS * KEY), "attn_q_norm": (KEY,), "attn_k_norm": (KEY,),
                "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER),
                "attn_norm": (WIDTH,), "post_attention_norm": (WIDTH,), "ffn_norm": (WIDTH,),
                "post_ffw_norm": (WIDTH,),
            }.items()
        }  # fmt: skip
    return shapes


def _weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return 1 + 0.1 * noise if len(shape) == 1 else 0.2 * noise


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages, as pip installs them: one of metadata and two of pieces."""
    site = tmp_path_factory.mktemp("site")
    write_gguf(site / "whole")
    whole = (site / "whole").read_bytes()
    cut = len(whole) // 2
    total = f"{hashlib.sha256(whole).hexdigest()}  tiny.gguf\n".encode()
    parts = [f"{PACKAGE}-part{i}" for i in (1, 2)]
    install(site, PACKAGE, {"SHA256SUMS": total}, requires=parts)
    for i, content in enumerate((whole[:cut], whole[cut:])):
        install(site, parts[i], {f"tiny.gguf.part{i:02d}": content})
    return site


def install(
    site: Path, name: str, data: dict[str, bytes], requires: list[str] | None = None
) -> None:
    """Put a package with `data` files into `site`, with the metadata that pip would write."""
    module = name.replace("-", "_")
    folder, info = site / module / "data", site / f"{module}-1.0.dist-info"
    for path in (folder, info):
        path.mkdir(parents=True)
    for file, content in data.items():
        (folder / file).write_bytes(content)
    lines = [f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {r}==1.0" for r in requires or [])]
    (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
    record = "".join(
        f"{module}/data/{file},sha256={_spell(content)},{len(content)}\n"
        for file, content in data.items()
    )
    (info / "RECORD").write_text(record)


def _spell(content: bytes) -> str:
    """A sha256 as wheels spell it."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def installed(pieces: Path) -> Iterator[None]:
    """The packages can be found by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(pieces))
        yield


@pytest.fixture(scope="session")
def tiny_text(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The zoo of tiny.yaml beside this file, built once; tests only read it."""
    return build(TEXT_TINY, tmp_path_factory.mktemp("text") / "zoo")
