"""Which files of a repository hold its weights, by name; or why none do."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from simmerge_hub.errors import CorruptHeader, NoSafetensors
from simmerge_hub.hub.client import not_cached
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.files.headers import parse_index
from simmerge_hub.hub.files.location import FileEntry, Location
from simmerge_hub.hub.reference import ModelRef
from simmerge_hub.names import list_first
from simmerge_hub.units import spell_count

Kind = Literal["full", "adapter"]
WEIGHTS: dict[Kind, str] = {"full": "model.safetensors", "adapter": "adapter_model.safetensors"}
"""What transformers and PEFT look for where one file holds all weights."""
INDEX = "model.safetensors.index.json"
"""What says where several files do which one holds a tensor."""
LAYOUTS: tuple[tuple[Kind, str], ...] = (
    ("adapter", WEIGHTS["adapter"]),
    ("full", WEIGHTS["full"]),  # as transformers: an index beside it is a leftover
    ("full", INDEX),
    ("adapter", "adapter_model.bin"),
    ("full", "pytorch_model.bin"),
    ("full", "pytorch_model.bin.index.json"),
)
"""Where weights may be, in the order of preference: what they are, and the file to begin with."""
SHARD = re.compile(r"model-\d+-of-(\d+)\.safetensors")
VARIANT = re.compile(r"(?:model|diffusion_pytorch_model)(?:\.safetensors\.index)?\.(\w+)"
                     r"(?:-\d+-of-\d+)?\.(?:safetensors|json)")  # fmt: skip
CONFIGS: dict[Kind, str] = {"full": "config.json", "adapter": "adapter_config.json"}


class WeightFiles(NamedTuple):
    """The files that hold the tensors, and what an index says which one is in: name -> file."""

    files: list[str]
    places: dict[str, str]


def find_weights(
    ref: ModelRef, location: Location, files: Mapping[str, FileEntry], originals: tuple[str, ...]
) -> tuple[Kind, WeightFiles]:
    """Whether it is a model or an adapter, and where its tensors are."""
    for kind, first in LAYOUTS:
        if first in files and (kind == "full" or CONFIGS[kind] in files):
            index = _index(location, first) if first.endswith(".json") else {}
            shards = sorted(set(index.values())) or [first]
            for shard in shards:
                if shard not in files:
                    _refuse_partial_cache(location)
                    raise incomplete(location, f"the index names {shard}, which is not there")
            return kind, WeightFiles(shards, index)
    _refuse_partial_cache(location)
    if shards := _shards_without_index(location, files):
        return "full", WeightFiles(shards, {})
    raise _no_weights(ref, files, originals)


def _shards_without_index(location: Location, files: Mapping[str, FileEntry]) -> list[str]:
    """model-00001-of-00003.safetensors and so on, if all are there: their headers are the index."""
    shards = sorted(name for name in files if SHARD.fullmatch(name))
    counts = {int(SHARD.fullmatch(name)[1]) for name in shards}  # type: ignore[index]
    if len(counts) > 1 or (counts and counts != {len(shards)}):
        raise incomplete(location, f"of {max(counts)} shards {len(shards)} are there, and no index")
    return shards


def _index(location: Location, name: str) -> dict[str, str]:
    ending = ".safetensors" if ".safetensors." in name else ".bin"
    with naming(location):
        return parse_index(local_file(location, name).read_bytes(), name, ending=ending)


def _no_weights(
    ref: ModelRef, files: Mapping[str, FileEntry], originals: tuple[str, ...]
) -> NoSafetensors:
    stored = [f for f in files if f.endswith(".safetensors")]
    if stored:
        return NoSafetensors(
            f"{ref} has no model.safetensors; it has {list_first(stored)}",
            hint=_advise(stored),
        )
    others = [f for f in files if f.endswith((".bin", ".gguf", ".pt", ".pth", ".ckpt"))]
    seen = f"it has {list_first(others)}" if others else f"it has {spell_count(len(files), 'file')}"
    hint = "name a folder or repository that save_pretrained() wrote to: model.safetensors is there"
    if others:
        hint = "load it with transformers and save_pretrained() it again: that writes safetensors"
    if others and all(f.endswith(".gguf") for f in others):
        named = f", {', '.join(originals)}" if originals else ""
        hint = f"GGUF cannot be merged; use the original repository{named}"
    return NoSafetensors(f"{ref} has no safetensors weights ({seen})", hint=hint)


def _advise(stored: Sequence[str]) -> str:
    """What to do with safetensors files of other names."""
    variant = next((m[1] for f in stored if (m := VARIANT.fullmatch(f))), None)
    if variant:
        return (
            f"it is stored as a variant: load it with from_pretrained(…, variant={variant!r}) and "
            "save_pretrained() it again, or rename the files without it"
        )
    if any(f.startswith("consolidated") for f in stored):
        return (
            "these are weights in the layout of Mistral's or Meta's own code, under other names: "
            "use the repository that transformers loads, or convert it"
        )
    if any("adapter" in f for f in stored):
        return "an adapter needs its adapter_config.json beside it"
    return "if it is one whole model, rename the file to model.safetensors"


def incomplete(location: Location, seen: str) -> CorruptHeader:
    return CorruptHeader(
        f"{location.name}: {seen}",
        hint="the upload or download is incomplete; fetch the model again",
    )


@contextmanager
def naming(location: Location) -> Iterator[None]:
    """What is wrong with a file inside is said with the model's name: of several, one is wrong."""
    try:
        yield
    except CorruptHeader as error:
        error.args = (f"{location.name}: {error}",)
        raise


def _refuse_partial_cache(location: Location) -> None:
    """Offline, a file that is missing may well be on the Hub."""
    if location.unlisted:
        raise not_cached(f"the weights of {location.repo}")
