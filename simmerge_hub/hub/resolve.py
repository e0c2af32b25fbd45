"""A reference -> a pinned Checkpoint: config, card and safetensors headers, no weight byte."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from huggingface_hub import constants, snapshot_download
from huggingface_hub.file_download import repo_folder_name

from simmerge_hub.errors import (
    CheckpointError,
    CorruptHeader,
    NoSafetensors,
    OfflineWithoutCache,
    RepoNotFound,
)
from simmerge_hub.hub.client import api, offline, translated
from simmerge_hub.hub.headers import (
    LENGTH_BYTES,
    TensorHeader,
    header_length,
    parse_header,
    parse_index,
)
from simmerge_hub.hub.ranges import Location, local_file, read_spans

ADAPTER = "adapter_model.safetensors"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = re.compile(
    r"(tokenizer[^/]*|special_tokens_map\.json|added_tokens\.json|vocab\.[^/]*|merges\.txt"
    r"|[^/]*\.model|chat_template[^/]*)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """What a user names: a repository with an optional revision, or a folder here."""

    repo: str = ""
    revision: str | None = None
    folder: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`./folder`, `org/name` or `org/name@revision`. An existing folder wins."""
        if _is_folder(text):
            return cls(folder=Path(text).expanduser())
        repo, _, revision = text.partition("@")
        if text.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repo):
            raise RepoNotFound(
                f"{text!r} is neither a folder here nor a repository name",
                hint="write org/name, org/name@revision or the path of a folder",
            )
        return cls(repo=repo, revision=revision or None)

    @property
    def name(self) -> str:
        """The repository's name, or the folder's own (never its path)."""
        return self.folder.resolve().name if self.folder else self.repo

    def __str__(self) -> str:
        if self.folder:
            return str(self.folder)
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file of a checkpoint: its size in bytes, and its sha256 where the Hub states it."""

    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A pinned model or adapter, known from its headers.

    `commit` is None for a folder. `config` is config.json, or adapter_config.json for an adapter.
    `tensors` is in file order. `card` is the front matter of README.md.
    """

    ref: ModelRef
    location: Location
    commit: str | None
    kind: Literal["full", "adapter"]
    config: Mapping[str, Any] = field(repr=False)
    files: Mapping[str, FileEntry] = field(repr=False)
    tensors: Mapping[str, TensorHeader] = field(repr=False)
    card: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """What to call it in tables, recipes and cards; never a path."""
        return self.ref.name

    @property
    def license(self) -> str | None:
        """The licence its card states; several are joined by commas."""
        return ", ".join(_texts(self.card.get("license"))) or None

    @property
    def tokenizer_files(self) -> tuple[str, ...]:
        """Its files that the tokenizer is loaded from."""
        return tuple(name for name in self.files if TOKENIZER_FILES.fullmatch(name))

    @property
    def parents(self) -> tuple[str, ...]:
        """What it says it was made from: its adapter config first, else its card's base_model."""
        named = self.config.get("base_model_name_or_path") if self.kind == "adapter" else None
        return _texts(named or self.card.get("base_model"))


def _is_folder(text: str) -> bool:
    try:
        return Path(text).expanduser().is_dir()
    except (OSError, RuntimeError):  # too long for a path; the home of a user there is not
        return False


def resolve(reference: str | ModelRef) -> Checkpoint:
    """Pin a reference to a commit and read its config, card and tensor headers.

    Raises:
        HubError: no such repository or revision, gated, private, offline, endpoint down.
        NoSafetensors, CorruptHeader, CheckpointError: it is nothing we can merge.
    """
    ref = ModelRef.parse(reference) if isinstance(reference, str) else reference
    location, files = resolve_files(ref)
    kind, weights = _weights(ref, location, files)
    config_name = "config.json" if kind == "full" else "adapter_config.json"
    return Checkpoint(
        ref=ref,
        location=location,
        commit=location.commit or None,
        kind=kind,
        config=_json(ref, location, files, config_name),
        files=files,
        tensors=_tensors(location, files, weights),
        card=front_matter(_text(location, files, "README.md")),
    )


def digest(checkpoint: Checkpoint) -> str:
    """sha256 over the weight, config and tokenizer files: equal content, equal digest.

    Files in subfolders and hidden ones do not count: a folder's listing has neither. The
    Hub states the sha256 of large files; small ones are fetched, and a folder's files are read.
    """
    names = sorted(
        name
        for name in checkpoint.files
        if "/" not in name
        and not name.startswith(".")
        and (
            name in ("config.json", "adapter_config.json")
            or name.endswith(".safetensors")
            or name in checkpoint.tokenizer_files
        )
    )
    parts = (f"{name} {file_sha256(checkpoint, name)}\n" for name in names)
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def file_sha256(checkpoint: Checkpoint, name: str) -> str:
    """The sha256 of one file's content."""
    stated = checkpoint.files[name].sha256
    if stated:
        return stated
    path = local_file(checkpoint.location, name)
    status = path.stat()
    return _hash(path.resolve(), status.st_size, status.st_mtime_ns)


@cache
def _hash(path: Path, _size: int, _mtime: int) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def front_matter(readme: str) -> dict[str, Any]:
    """The YAML between the first two `---` lines of a card; {} where there is none."""
    found = re.match(r"\ufeff?---\r?\n(.*?)\r?\n---", readme, re.DOTALL)
    try:
        data = yaml.safe_load(found[1]) if found else None
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date such as 2024-13-01
        return {}
    return data if isinstance(data, dict) else {}


def resolve_files(ref: ModelRef) -> tuple[Location, dict[str, FileEntry]]:
    """Pin a reference to a commit and list its files; raises HubError."""
    if ref.folder is not None:
        return _folder_listing(ref.folder)
    if offline():
        return _cached_listing(ref)
    with translated(ref.repo, ref.revision):
        info = api().model_info(ref.repo, revision=ref.revision, files_metadata=True)
    assert info.sha is not None
    _remember(ref, info.sha)
    files = {
        s.rfilename: FileEntry(size=s.size or 0, sha256=s.lfs.sha256 if s.lfs else None)
        for s in info.siblings or ()
    }
    return Location(repo=info.id, commit=info.sha), files


def _remember(ref: ModelRef, commit: str) -> None:
    """Note in huggingface_hub's cache which commit a branch or tag is, for offline use."""
    revision = ref.revision or "main"
    if revision != commit and ".." not in revision:
        repository = repo_folder_name(repo_id=ref.repo, repo_type="model")
        path = Path(constants.HF_HUB_CACHE, repository, "refs", revision)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit)


def _cached_listing(ref: ModelRef) -> tuple[Location, dict[str, FileEntry]]:
    with translated(ref.repo, ref.revision):
        snapshot = Path(snapshot_download(ref.repo, revision=ref.revision, local_files_only=True))
    _, files = _folder_listing(snapshot)
    return Location(folder=snapshot, repo=ref.repo, commit=snapshot.name), files


def _folder_listing(folder: Path) -> tuple[Location, dict[str, FileEntry]]:
    if not folder.is_dir():
        raise RepoNotFound(f"there is no folder {folder}", hint="check the path of the model")
    files = {p.name: FileEntry(size=p.stat().st_size) for p in sorted(folder.iterdir())
             if p.is_file() and not p.name.startswith(".")}  # fmt: skip
    return Location(folder=folder), files


def _weights(
    ref: ModelRef, location: Location, files: Mapping[str, FileEntry]
) -> tuple[Literal["full", "adapter"], list[str]]:
    """Whether it is a model or an adapter, and the files that hold its tensors."""
    if "adapter_config.json" in files and ADAPTER in files:
        return "adapter", [ADAPTER]
    if SINGLE in files:  # as transformers: an index beside it is a leftover
        return "full", [SINGLE]
    if INDEX in files:
        return "full", _shards(location, files)
    _refuse_partial_cache(location)
    others = [f for f in files if f.endswith((".bin", ".gguf", ".pt", ".pth", ".ckpt"))]
    seen = f"it has {', '.join(others[:3])}" if others else f"it has {len(files)} files"
    raise NoSafetensors(
        f"{ref} has no safetensors weights ({seen})",
        hint="load it with transformers and save_pretrained() it again: that writes safetensors",
    )


def _shards(location: Location, files: Mapping[str, FileEntry]) -> list[str]:
    shards = sorted(set(_index(location).values()))
    for shard in shards:
        if shard not in files:
            _refuse_partial_cache(location)
            raise _incomplete(location, f"the index names {shard}, which is not there")
    return shards


def _index(location: Location) -> dict[str, str]:
    return parse_index(local_file(location, INDEX).read_bytes(), INDEX)


def _incomplete(location: Location, seen: str) -> CorruptHeader:
    return CorruptHeader(
        f"{location.name}: {seen}",
        hint="the upload or download is incomplete; fetch the model again",
    )


def _refuse_partial_cache(location: Location) -> None:
    """Offline, a file that is missing may well be on the Hub."""
    if location.folder is not None and location.repo:
        raise OfflineWithoutCache(
            f"offline mode is on, and the cache does not hold the weights of {location.repo}",
            hint="unset HF_HUB_OFFLINE once to fetch it; after that it works offline",
        )


def _tensors(
    location: Location, files: Mapping[str, FileEntry], weights: list[str]
) -> dict[str, TensorHeader]:
    tensors: dict[str, TensorHeader] = {}
    for file in weights:
        found = _header(location, file, files[file].size)
        twice = tensors.keys() & found.keys()
        if twice:
            raise CorruptHeader(
                f"{location.name}: {min(twice)!r} is in two shards", hint="the upload is damaged"
            )
        tensors |= found
    promised = {} if weights in ([ADAPTER], [SINGLE]) else _index(location)
    for name, file in promised.items():
        if name not in tensors or tensors[name].file != file:
            raise _incomplete(location, f"the index names {name}, which is not in {file}")
    return tensors


def _header(location: Location, file: str, size: int) -> dict[str, TensorHeader]:
    """Two reads: the length, then exactly the header; a longer guess would touch weights."""
    (first,) = read_spans(location, file, [(0, min(LENGTH_BYTES, size))])
    length = header_length(first, size, file)
    (header,) = read_spans(location, file, [(LENGTH_BYTES, LENGTH_BYTES + length)])
    return parse_header(header, size, file)


def _json(
    ref: ModelRef, location: Location, files: Mapping[str, FileEntry], name: str
) -> dict[str, Any]:
    try:
        found = json.loads(_text(location, files, name) or "null")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{ref} has no readable {name}", hint="a checkpoint is what save_pretrained() writes"
        )
    return found


def _texts(stated: Any) -> tuple[str, ...]:
    """What a card states as one text or a list of them; anything else is ignored."""
    several = stated if isinstance(stated, list) else [stated]
    return tuple(text for text in several if text and isinstance(text, str))


def _text(location: Location, files: Mapping[str, FileEntry], name: str) -> str:
    if name not in files:
        return ""
    return local_file(location, name).read_text(encoding="utf-8", errors="replace")
