"""A reference -> a pinned Checkpoint: config, card and tensor headers, no weight byte.

Weights in .bin files are the exception: they have no headers, so they are converted first.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from simmerge_hub.documents import DocumentError, read_json_object, read_yaml, split_card
from simmerge_hub.errors import (
    CheckpointError,
    CorruptHeader,
    NoSafetensors,
)
from simmerge_hub.hub.client import not_cached
from simmerge_hub.hub.files.cached import local_file, read_small, read_text
from simmerge_hub.hub.files.convert import convert_pickles
from simmerge_hub.hub.files.formats import quantization, refuse_quantised, sort_tensors
from simmerge_hub.hub.files.hashes import hash_path
from simmerge_hub.hub.files.headers import (
    LENGTH_BYTES,
    Headers,
    TensorHeader,
    header_length,
    parse_header,
)
from simmerge_hub.hub.files.location import FileEntry, Location
from simmerge_hub.hub.files.ranges import read_spans
from simmerge_hub.hub.reference import ModelRef, resolve_files
from simmerge_hub.hub.weight_files import CONFIGS, Kind, find_weights, incomplete, naming

__all__ = [
    "Checkpoint", "FileEntry", "ModelRef", "Piece", "TargetParameter", "front_matter", "resolve",
    "resolve_files",
]  # fmt: skip

LARGEST_CONFIG = 10 * 2**20
"""Bytes; configs with long tables of labels have one."""
TOKENIZER_FILES = re.compile(
    r"(tokenizer[^/]*|special_tokens_map\.json|added_tokens\.json|vocab\.[^/]*|merges\.txt"
    r"|[^/]*\.model|chat_template[^/]*|tekken\.json|[^/]*\.(tiktoken|spm|codes))"
)


class Piece(NamedTuple):
    """Where rows of a parameter are stored: from row `at` of `tensor` on, its rows [first, last).

    Of a stack of experts it is those of `expert`; -1 for a plain matrix, or for the whole stack.
    """

    tensor: str
    expert: int = -1
    first: int = 0
    last: int | None = None
    at: int = 0


class TargetParameter(NamedTuple):
    """What an adapter's module changes: a parameter of the model, and where its base stores that.

    `experts` is how many matrices a stacked parameter has, 0 for a plain matrix; `turned` says that
    a stack is [experts, in, out], a square matrix [in, out]. `named` says that the adapter's config
    names the parameter itself (`target_parameters`): then B·A lies as a matrix does in memory.
    """

    parameter: str
    pieces: tuple[Piece, ...]
    experts: int = 0
    turned: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A pinned model or adapter, known from its headers.

    `commit` is None for a folder. `config` is config.json, or adapter_config.json for an adapter.
    `tensors` is in file order and holds what can be merged; `buffers` the whole-number and bool
    tensors. `card` is the front matter of README.md. `pickles` names the .bin files that hold the
    weights, and `converted` says where those lie as safetensors. `naming` tells the names in
    `tensors` from those in the files, if they are others; `targets` says where the base has what
    an adapter names otherwise.
    """

    ref: ModelRef
    location: Location
    commit: str | None
    kind: Kind
    config: Mapping[str, Any] = field(repr=False)
    files: Mapping[str, FileEntry] = field(repr=False)
    tensors: Headers = field(repr=False)
    card: Mapping[str, Any] = field(repr=False)
    buffers: Headers = field(default_factory=dict, repr=False)
    pickles: tuple[str, ...] = ()
    converted: Location | None = None
    naming: str = ""
    targets: Mapping[str, TargetParameter] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """What to call it in tables, recipes and cards; never a path."""
        return self.ref.name

    @property
    def weights(self) -> Location:
        """Where the files lie that `tensors` and `buffers` name; other files are at `location`."""
        return self.converted or self.location

    @property
    def license(self) -> str | None:
        """The licence its card states; several are joined by commas."""
        return ", ".join(_texts(self.card.get("license"))) or None

    @property
    def tokenizer_files(self) -> tuple[str, ...]:
        """Its files that the tokenizer is loaded from."""
        return tuple(name for name in self.files if TOKENIZER_FILES.fullmatch(name))

    @property
    def weight_files(self) -> tuple[str, ...]:
        """Its files that hold tensors, as they are stored: .bin files before they are converted."""
        return tuple(sorted(self.pickles or {h.file for h in self.tensors.values()}))

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Its weight files that are from a Hub which states no digest of them."""
        files = self.weight_files if self.location.repo else ()
        return tuple(f for f in files if not (self.files[f].sha256 or self.files[f].git))

    @property
    def parents(self) -> tuple[str, ...]:
        """What it says it was made from: its adapter config first, else its card's base_model."""
        named = self.config.get("base_model_name_or_path") if self.kind == "adapter" else None
        return _texts(named or self.card.get("base_model"))


def resolve(reference: str | ModelRef, *, convert: bool = True) -> Checkpoint:
    """Pin a reference to a commit and read its config, card and tensor headers.

    Args:
        reference: what the user named.
        convert: whether weights in .bin files are downloaded and converted, or refused.

    Raises:
        HubError: no such repository or revision, gated, private, offline, endpoint down.
        NoSafetensors, CorruptHeader, CheckpointError: it is nothing we can merge.
        OutputError: no room to convert .bin files.
    """
    ref = ModelRef.parse(reference) if isinstance(reference, str) else reference
    location, files = resolve_files(ref)
    card = front_matter(read_text(location, files, "README.md"))
    originals = _texts(card.get("base_model"))
    kind, stored = find_weights(ref, location, files, originals)
    config = _json(ref, location, files, CONFIGS[kind])
    refuse_quantised(str(ref), config, originals)
    if location.unlisted and _lacks_tokenizer(kind, config, files):
        raise not_cached(f"the tokenizer of {ref}")
    if not convert and any(f.endswith(".bin") for f in stored.files):
        raise NoSafetensors(
            f"{ref} has its weights in .bin files, and no safetensors",
            hint="name it among the models of a plan to have it converted",
        )
    pickles = {
        f: files[f].sha256 or hash_path(local_file(location, f), "sha256")
        for f in stored.files
        if f.endswith(".bin")
    }
    if pickles:
        weights, shards = convert_pickles(location, pickles)
    else:
        weights, shards = None, {f: _header(location, f, files[f].size) for f in stored.files}
    headers = _join_shards(location, shards, stored.places)
    tensors, buffers = sort_tensors(str(ref), headers, config, originals)
    return Checkpoint(
        ref=ref,
        location=location,
        commit=location.commit or None,
        kind=kind,
        config=config,
        files=files,
        tensors=tensors,
        card=card,
        buffers=buffers,
        pickles=tuple(pickles),
        converted=weights,
    )


def _lacks_tokenizer(kind: Kind, config: Mapping[str, Any], files: Mapping[str, FileEntry]) -> bool:
    """Whether a model of texts has no tokenizer."""
    inner = config.get("text_config")
    stated = {**config, **(inner if isinstance(inner, dict) else {})}
    there = any(map(TOKENIZER_FILES.fullmatch, files))
    return kind == "full" and "vocab_size" in stated and not there


def quantised_origin(ref: ModelRef) -> str | None:
    """What the card of a quantised copy says it was made from; None if it is none, or says none.

    Raises:
        HubError: as `resolve`.
        CheckpointError: it has no config.json.
    """
    location, files = resolve_files(ref)
    if not quantization(_json(ref, location, files, CONFIGS["full"])):
        return None
    originals = _texts(front_matter(read_text(location, files, "README.md")).get("base_model"))
    return originals[0] if len(originals) == 1 else None


def front_matter(readme: str) -> dict[str, Any]:
    """What a card states before its text; {} where there is nothing to believe."""
    return deepcopy(_front_matter(readme))


@lru_cache(maxsize=64)
def _front_matter(readme: str) -> dict[str, Any]:
    """The same, read once: a plan looks at a card several times."""
    try:
        data = read_yaml(split_card(readme)[0])
    except DocumentError:
        return {}
    return data if isinstance(data, dict) else {}


def _join_shards(
    location: Location, shards: Mapping[str, Headers], index: Mapping[str, str]
) -> dict[str, TensorHeader]:
    """The tensors of all shards, which must be at least those the index names."""
    tensors: dict[str, TensorHeader] = {}
    for shard in shards.values():
        twice = tensors.keys() & shard.keys()
        if twice:
            raise CorruptHeader(
                f"{location.name}: {min(twice)!r} is in two shards", hint="the upload is damaged"
            )
        tensors |= shard
    for name, file in index.items():
        if name not in shards[file]:
            raise incomplete(location, f"the index names {name}, which is not in {file}")
    return tensors


def _header(location: Location, file: str, size: int) -> dict[str, TensorHeader]:
    """Two reads: the length, then exactly the header; a longer guess would touch weights."""
    (first,) = read_spans(location, file, [(0, min(LENGTH_BYTES, size))])
    with naming(location):
        length = header_length(first, size, file)
        (header,) = read_spans(location, file, [(LENGTH_BYTES, LENGTH_BYTES + length)])
        return parse_header(header, size, file)


def _json(
    ref: ModelRef, location: Location, files: Mapping[str, FileEntry], name: str
) -> dict[str, Any]:
    try:
        return read_json_object(read_small(location, files, name), largest=LARGEST_CONFIG)
    except DocumentError as error:
        raise CheckpointError(
            f"{ref} has no readable {name}: {error if name in files else 'it is not there'}",
            hint="a checkpoint is what save_pretrained() writes",
        ) from None


def _texts(stated: Any) -> tuple[str, ...]:
    """What a card states as one text or a list of them; anything else is ignored."""
    several = stated if isinstance(stated, list) else [stated]
    return tuple(text for text in several if text and isinstance(text, str))
