"""Texts from a dataset on the Hub, pinned to a commit, or from a file here.

JSON-lines and text files are read as they are, large ones only as far as needed; datasets in other
formats go through the `datasets` library, streamed. Which file is which split is told by the card,
else by file and folder names.
"""

import fnmatch
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from simmerge_hub.documents import DocumentError, read_json
from simmerge_hub.errors import MissingExtra, ProbeError
from simmerge_hub.hub.client import COMMIT_HASH, api, offline, translate_answers
from simmerge_hub.hub.files.location import FileEntry, Location
from simmerge_hub.hub.files.ranges import stream_file
from simmerge_hub.hub.reference import (
    cached_snapshot,
    home_path,
    remember,
    remember_files,
    remembered_files,
)
from simmerge_hub.hub.resolve import front_matter
from simmerge_hub.units import spell_bytes

SPLITS = ("probe", "train")
"""Splits used where none is named: the first there is."""
TEXT_COLUMNS = ("prompt", "text", "question", "instruction", "input")
"""Columns used where none is named: the first there is."""
NATIVE = (".jsonl", ".txt")
WHOLE_FILE = 10 * 2**20
"""Bytes up to which a file is downloaded whole, and so is there offline."""
LARGEST_CARD = LARGEST_LINE = 10 * 2**20
"""Bytes of a card, and of a line of a file, that are read at most."""
KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
    "probe": ("probe", "probes"),
}
"""Words in file and folder names that make a split; the first three are those of `datasets`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Texts, and where exactly they are from: `org/name@commit:split:column` or a file's name."""

    source: str
    prompts: tuple[str, ...]


def texts(reference: str, *, limit: int) -> Texts:
    """The first `limit` texts of a dataset or file.

    Args:
        reference: `org/dataset[@revision][:split[:column]]`, or the path of a .jsonl or .txt file.
        limit: how many to read at most.

    Raises:
        ProbeError: no such file, split or column (the message lists those there are), or no text.
        MissingExtra: a format that needs the `datasets` library, which is not installed.
        HubError: no such dataset or revision, or no way to it.
    """
    path = home_path(reference)
    if path.suffix in NATIVE and path.is_file():
        here = Location(folder=path.parent)
        prompts, _ = _read(here, [path.name], "", limit, path.name)
        return Texts(source=path.name, prompts=prompts)
    if path.is_file() and (path.suffix or "/" in reference):
        raise ProbeError(
            f"{reference} is a file, and prompts are read from .jsonl and .txt files",
            hint="write them into one: a .txt has one on each line, a .jsonl an object",
        )
    if path.suffix in NATIVE:
        raise ProbeError(
            f"there is no file of prompts {reference}",
            hint="check its path; that of a recipe is relative to it: copy a merge's recipe "
            "(simmerge.yaml) to where its prompts lie, and run that",
        )
    match = re.fullmatch(r"([\w.-]+(?:/[\w.-]+)?)(?:@([^:]+))?(?::([^:]*))?(?::(.+))?", reference)
    if match is None or reference.startswith((".", "/", "~")):
        raise ProbeError(
            f"{reference!r} is neither a .jsonl or .txt file here nor a dataset",
            hint="write org/dataset, org/dataset@revision:split:column, or the path of a file",
        )
    repo, revision, split, column = (part or "" for part in match.groups())
    return _from_hub(repo, revision or None, split, column, limit)


def _from_hub(repo: str, revision: str | None, split: str, column: str, limit: int) -> Texts:
    location, files = _listing(repo, revision)
    native = [name for name in files if _is_data(name)]
    if native:
        splits = _splits(native, _configured_splits(location, files))
        chosen = _choose("split", split, SPLITS, list(splits), repo)
        prompts, used = _read(location, splits[chosen], column, limit, repo)
    else:
        chosen, rows = _stream_rows(repo, location.commit, split)
        prompts, used = _column(rows, column, limit, repo)
    return Texts(source=f"{repo}@{location.commit}:{chosen}:{used}", prompts=prompts)


def _listing(repo: str, revision: str | None) -> tuple[Location, list[str]]:
    if offline():
        folder = cached_snapshot(repo, revision, repo_type="dataset")
        here = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        listed = remembered_files(repo, folder.name, repo_type="dataset") or {}
        return Location(folder=folder, repo=repo, commit=folder.name), sorted({*here, *listed})
    with translate_answers(repo, revision):
        info = api().dataset_info(repo, revision=revision)
    names = sorted(str(s.rfilename) for s in info.siblings or ())
    if isinstance(info.sha, str) and COMMIT_HASH.fullmatch(info.sha):
        remember(repo, revision, info.sha, repo_type="dataset")
        listing = {name: FileEntry(size=0) for name in names}
        remember_files(repo, info.sha, listing, repo_type="dataset")
    return Location(repo=info.id, commit=info.sha or "", repo_type="dataset"), names


def _is_data(name: str) -> bool:
    path = Path(name)
    hidden = any(part.startswith((".", "_")) for part in path.parts)
    return path.suffix in NATIVE and not hidden and path.stem.lower() not in ("readme", "license")


def _configured_splits(location: Location, files: Sequence[str]) -> Mapping[str, list[str]]:
    """Split -> globs, where the card's first configuration says so."""
    if "README.md" not in files:
        return {}
    card = front_matter(_read_card(location).decode("utf-8", "replace"))
    configs = card.get("configs")
    first = configs[0] if isinstance(configs, list) and configs else None
    stated = first.get("data_files") if isinstance(first, dict) else None
    entries = stated if isinstance(stated, list) else []
    globs: dict[str, list[str]] = {}
    for entry in entries:
        if isinstance(entry, dict) and {"split", "path"} <= entry.keys():
            paths = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
            globs.setdefault(str(entry["split"]), []).extend(map(str, paths))
    return globs


def _read_card(location: Location) -> bytes:
    """The beginning of the card, where its front matter is."""
    text = b""
    for data in stream_file(location, "README.md", whole=LARGEST_CARD):
        text += data
        if len(text) >= LARGEST_CARD:
            break
    return text[:LARGEST_CARD]


def _splits(files: Sequence[str], configured: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Split -> files. Without any name that tells, everything is `train`, as in `datasets`."""
    splits: dict[str, list[str]] = {}
    for split, globs in configured.items():
        names = [name for glob in globs for name in fnmatch.filter(files, glob)]
        if names:
            splits[split] = list(dict.fromkeys(names))
    if not splits:
        for name in files:
            for split in _splits_in_name(name):
                splits.setdefault(split, []).append(name)
    return splits or {"train": list(files)}


def _splits_in_name(file: str) -> list[str]:
    """The splits a file's name or folder speaks of."""
    sharded = re.fullmatch(r"data/(.+)-\d{5}-of-\d{5}.*", file)
    if sharded:
        return [sharded[1]]
    words = set(re.split(r"[-._ 0-9/]+", str(Path(file).with_suffix(""))))
    return [split for split, keywords in KEYWORDS.items() if words & set(keywords)]


def _choose(
    what: str, wanted: str, defaults: Sequence[str], there: Sequence[str], source: str
) -> str:
    if wanted in there:
        return wanted
    default = next((name for name in defaults if name in there), None)
    if not wanted and default is not None:
        return default
    missing = repr(wanted) if wanted else " or ".join(defaults)
    raise ProbeError(
        f"{source} has no {what} {missing}; it has: {', '.join(there) or 'none'}",
        hint=f"name one of them: {source}:split:column",
    )


def _read(
    location: Location, files: Sequence[str], column: str, limit: int, source: str
) -> tuple[tuple[str, ...], str]:
    lines = (line for file in files for line in _lines(location, file) if line.strip())
    if files[0].endswith(".txt"):
        rows: Iterable[Any] = ({"text": line} for line in lines)
    else:
        rows = (_parse(line, source) for line in lines)
    return _column(rows, column, limit, source)


def _lines(location: Location, file: str) -> Iterator[str]:
    left = b""
    for data in stream_file(location, file, whole=WHOLE_FILE):
        *lines, left = (left + data).split(b"\n")
        yield from (_text(line) for line in lines)
        if len(left) > LARGEST_LINE:
            raise ProbeError(
                f"a line of {file} is longer than {spell_bytes(LARGEST_LINE)}",
                hint="give a file with one prompt a line, or another column of texts",
            )
    yield _text(left)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")


def _parse(line: str, source: str) -> Mapping[str, Any]:
    try:
        row = read_json(line)
    except DocumentError:
        row = None
    if isinstance(row, dict):
        return row
    raise ProbeError(
        f"{source}: a line is no JSON object: {line[:60]!r}",
        hint='each line of a .jsonl file is like {"prompt": "…"}',
    )


def _column(
    rows: Iterable[Mapping[str, Any]], column: str, limit: int, source: str
) -> tuple[tuple[str, ...], str]:
    """The texts of a column, and the column's name."""
    prompts: list[str] = []
    used = column
    for number, row in enumerate(islice(rows, limit)):
        if number == 0:
            used = _choose("column", column, TEXT_COLUMNS, [str(k) for k in row], source)
        text = row.get(used)
        if not isinstance(text, str) or not text.strip():
            raise ProbeError(
                f"{source}: row {number + 1} has no text in {used!r}",
                hint=f"use a column of texts; row {number + 1} has: {', '.join(map(str, row))}",
            )
        prompts.append(text)
    if not prompts:
        raise ProbeError(f"{source} holds no texts", hint="give a file with one prompt a line")
    return tuple(prompts), used


def _stream_rows(repo: str, commit: str, split: str) -> tuple[str, Iterable[Mapping[str, Any]]]:
    """A split of a dataset in another format, through the `datasets` library."""
    if importlib.util.find_spec("datasets") is None:
        raise MissingExtra(
            f"{repo} has no .jsonl or .txt files, and other formats need the datasets library",
            hint="pip install datasets",
        )
    import datasets

    try:
        there = datasets.get_dataset_split_names(repo, revision=commit)
        chosen = _choose("split", split, SPLITS, there, repo)
        rows = datasets.load_dataset(repo, split=chosen, revision=commit, streaming=True)
    except (ValueError, OSError) as error:
        raise ProbeError(
            f"{repo} cannot be read as a dataset: {str(error).partition(chr(10))[0]}",
            hint="convert it to JSON lines with one prompt a line",
        ) from error
    return chosen, rows  # type: ignore[return-value]
