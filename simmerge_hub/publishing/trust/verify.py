"""Whether a merged folder or repository still is what the merge wrote, by its SHA256SUMS.

This tells of damage and of changes, not of forgery: who can change a file can change the list. Only
redoing the merge tells whether the recipe gives these files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simmerge_hub.documents import split_card
from simmerge_hub.errors import OfflineWithoutCache, OutputError
from simmerge_hub.hub.files.cached import local_file, read_small
from simmerge_hub.hub.files.checksums import (
    CHECKSUMS_FILE,
    EARLIER_PICTURE,
    LARGEST_CHECKSUMS,
    UNLISTED,
    hash_files,
    is_hidden,
    parse_checksums,
    visible_files,
)
from simmerge_hub.hub.files.location import FileEntry, Location, inside
from simmerge_hub.hub.reference import ModelRef, resolve_files
from simmerge_hub.literal import literal
from simmerge_hub.names import list_first

ATTACHED = "simmerge/"
"""Where signatures are published in a repository, by anybody and after the merge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The files of `name` against its SHA256SUMS: how many `match`, and those that do not."""

    name: str
    match: int
    differ: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every file is the one that the merge wrote, and there is no other."""
        return not self.problems

    @property
    def problems(self) -> dict[str, tuple[str, ...]]:
        """The file names of each kind of mismatch that there is."""
        kinds = {"differs": self.differ, "missing": self.missing, "extra": self.extra}
        return {kind: names for kind, names in kinds.items() if names}

    def explain(self) -> str:
        """`differs: config.json; extra: a.txt, b.txt`; at most three names of each kind."""
        return "; ".join(f"{kind}: {list_first(names)}" for kind, names in self.problems.items())


def verify(reference: str | Path, *, against: str | Path | None = None) -> Verification:
    """Compare the files of a merge with the digests that the merge recorded.

    The card is left out, hidden files and published signatures too. A folder is read whole. Of a
    repository the Hub's sha256 of large files is taken, and only small files are downloaded.

    Args:
        reference: a merged folder, or `org/name` or `org/name@revision`.
        against: another merge, whose recorded digests are taken instead of its own: that which was
            redone, to see whether the recipe gives the same bytes.

    Raises:
        OutputError: it has no SHA256SUMS.
        CheckpointError: its SHA256SUMS cannot be read, or a file is a link that leads out.
        HubError: the repository cannot be read.
    """
    ref = ModelRef.parse(str(reference))
    recorded = None if against is None else _recorded_by(ModelRef.parse(str(against)))
    if ref.folder is not None:
        there = visible_files(ref.folder, links=True)
        return verify_folder(ref.folder, there, recorded and of_a_redo(recorded, there))
    location, files = resolve_files(ref)
    recorded = recorded and of_a_redo(recorded, files)
    if location.folder is not None:  # the cache, offline
        return _verify_cached(location, recorded)
    return _verify_repository(str(ref), location, files, recorded)


def _recorded_by(ref: ModelRef) -> dict[str, str]:
    """The digests that a merge recorded."""
    location, files = resolve_files(ref)
    if CHECKSUMS_FILE not in files:
        raise _unrecorded(str(ref))
    return parse_checksums(read_small(location, files, CHECKSUMS_FILE), str(ref))


def warn_of_changes(card: str, changes: str) -> str:
    """A card that says first how its files are not those of the merge."""
    body = split_card(card)[1].lstrip("\n")
    warning = (
        f"> **These are not the files that the merge wrote:** {literal(changes)}. Redoing the "
        "recipe does not give them.\n\n"
    )
    return f"{card.removesuffix(body)}{warning}{body}"


def verify_folder(
    folder: Path, files: Mapping[str, Path], recorded: Mapping[str, str] | None = None
) -> Verification:
    """`verify` of these files of a folder, by their names in it; `recorded` is its own else."""
    recorded = recorded or _recorded(folder / CHECKSUMS_FILE, str(folder))
    listed = {name: inside(folder, name) for name in files if name in recorded}
    return compare_digests(str(folder), recorded, hash_files(listed), files)


def _verify_cached(location: Location, recorded: Mapping[str, str] | None) -> Verification:
    assert location.folder is not None
    there = visible_files(location.folder, links=True)
    verification = verify_folder(location.folder, there, recorded)
    if verification.missing:
        raise OfflineWithoutCache(
            f"offline mode is on, and the cache does not hold {verification.missing[0]} of "
            f"{location.repo}",
            hint="unset HF_HUB_OFFLINE once: only small files are downloaded",
        )
    return verification


def _verify_repository(
    name: str,
    location: Location,
    files: Mapping[str, FileEntry],
    recorded: Mapping[str, str] | None,
) -> Verification:
    if recorded is None:
        if CHECKSUMS_FILE not in files:
            raise _unrecorded(name)
        recorded = parse_checksums(read_small(location, files, CHECKSUMS_FILE), name)
    stated = {n: e.sha256 for n, e in files.items() if n in recorded and e.sha256}
    fetched = {n: local_file(location, n) for n in files if n in recorded and n not in stated}
    return compare_digests(name, recorded, {**stated, **hash_files(fetched)}, files)


def _recorded(path: Path, name: str) -> dict[str, str]:
    if not path.is_file():
        raise _unrecorded(name)
    with open(path, "rb") as file:
        return parse_checksums(file.read(LARGEST_CHECKSUMS + 1), name)


def compare_digests(
    name: str, recorded: Mapping[str, str], actual: Mapping[str, str], files: Mapping[str, object]
) -> Verification:
    """The digests that `files` have against those that were recorded, by file name."""
    others = (n for n in files if n not in recorded and n not in UNLISTED and not is_hidden(n))
    return Verification(
        name=name,
        match=sum(actual.get(n) == sha256 for n, sha256 in recorded.items()),
        differ=tuple(n for n, sha256 in recorded.items() if actual.get(n, sha256) != sha256),
        missing=tuple(n for n in recorded if n not in actual),
        extra=tuple(n for n in others if not n.startswith(ATTACHED)),
    )


def of_a_redo(recorded: Mapping[str, str], files: Mapping[str, object]) -> dict[str, str]:
    """What one merge recorded, as far as another that redoes it is to have it.

    The picture of a card is no file of a merge; early ones listed theirs.
    """
    return {n: d for n, d in recorded.items() if n != EARLIER_PICTURE or n in files}


def _unrecorded(name: str) -> OutputError:
    return OutputError(
        f"{name} has no {CHECKSUMS_FILE}: no merge recorded the digests of its files",
        hint="only what simmerge-hub merged has one; if it or its card holds a recipe, merge again",
    )
