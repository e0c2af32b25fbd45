"""From text to token numbers: what training and exams need of a tokenizer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from json import loads
from pathlib import Path

from simmerge_hub.zoo import tokenizer
from simmerge_hub.zoo.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """`encode` gives a text's token numbers without specials; `start` are those that the tokenizer
    puts before every text, the rest special tokens."""

    encode: Callable[[str], list[int]]
    start: tuple[int, ...]
    eos: int
    pad: int


NANO = Codec(encode=tokenizer.encode, start=(tokenizer.BOS,), eos=tokenizer.EOS, pad=tokenizer.PAD)


def codec_for(manifest: Manifest, base: str) -> Codec:
    """How a base and all that came of it read: nano models one character at a time."""
    packaged = "package" in manifest.models[base].spec
    return codec_of(manifest.path(base)) if packaged else NANO


@cache
def codec_of(folder: Path) -> Codec:
    """The codec of the model in `folder`: its tokenizer.json, and specials from its config.json."""
    from tokenizers import Tokenizer

    inner = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = loads((folder / "config.json").read_text())
    eos, pad = (config[f"{name}_token_id"] for name in ("eos", "pad"))

    def encode(text: str) -> list[int]:
        return inner.encode(text, add_special_tokens=False).ids

    return Codec(encode=encode, start=tuple(inner.encode("").ids), eos=eos, pad=pad)
