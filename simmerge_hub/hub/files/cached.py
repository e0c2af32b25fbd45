"""Whole files of a checkpoint, here or through huggingface_hub's cache.

Each is held against the digest that a Hub states of it.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.utils import tqdm

from simmerge_hub.documents import LARGEST_JSON, DocumentError, read_json
from simmerge_hub.errors import HubError
from simmerge_hub.hub.client import api, first_line, not_cached, translate_answers
from simmerge_hub.hub.files.hashes import hash_path
from simmerge_hub.hub.files.location import FileEntry, Location, inside, is_plain
from simmerge_hub.version import __version__

LARGE_TRANSFER = 50 * 2**20
"""Bytes from which a download shows a progress bar."""
CLOCK_STEP = 20_000_000
"""Nanoseconds by which a file's time may lie before the clock's: file systems count in ticks."""
LARGEST_SMALL = 50 * 2**20
"""Bytes of a card, config or list of digests that is downloaded at all."""


class LargeOnly(tqdm):
    """huggingface_hub's progress bar, silent for files that take no time."""

    def __init__(self, *args: Any, **options: Any) -> None:
        small = (options.get("total") or 0) < LARGE_TRANSFER
        super().__init__(*args, **{**options, "disable": small or options.get("disable")})


def file_here(location: Location, file: str) -> Path:
    """The path of a file in the folder of a location.

    Raises:
        CheckpointError: it is a link that leads out of the folder, or nowhere.
        OfflineWithoutCache: the folder is a cache, offline, and lacks the file.
    """
    assert location.folder is not None
    if location.repo and not os.path.lexists(location.folder / file):
        raise not_cached(f"{file} of {location.repo}")
    return inside(location.folder, file)


def local_file(location: Location, file: str) -> Path:
    """The path of a whole file, downloaded into huggingface_hub's cache if it is remote.

    Raises:
        CheckpointError: it is a link that leads out of its folder, or there is no such file.
        HubError: it cannot be had, or is not the file that the Hub states.
        OfflineWithoutCache: offline mode is on, and the cache does not hold it.
    """
    if location.folder is not None:
        path = file_here(location, file)
    else:
        known = is_cached(location, file)
        began = time.time_ns() - CLOCK_STEP
        path = _download(location, file)
        if not known and path.resolve().stat().st_mtime_ns >= began:
            _downloaded.add(path)
    _check_digest(location, file, path)
    return path


def read_small(location: Location, files: Mapping[str, FileEntry], name: str) -> bytes:
    """A card, config or the like whole; empty where there is none, or none that anybody would
    write; raises as `local_file`."""
    if name not in files or files[name].size > LARGEST_SMALL:
        return b""
    return local_file(location, name).read_bytes()


def read_text(location: Location, files: Mapping[str, FileEntry], name: str) -> str:
    """The same as text."""
    return read_small(location, files, name).decode(errors="replace")


def read_stated(location: Location, files: Mapping[str, FileEntry], name: str) -> Any:
    """The value of a JSON file that a model may do without, as transformers reads it: of a key that
    is there twice, the last; None where there is none, or none that can be read; raises as
    `local_file`."""
    if name not in files or files[name].size > LARGEST_JSON:
        return None
    try:
        return read_json(local_file(location, name).read_bytes(), unique=False)
    except DocumentError:
        return None


def read_stated_object(
    location: Location, files: Mapping[str, FileEntry], name: str
) -> dict[str, Any]:
    """The same of an object; {} of anything else."""
    value = read_stated(location, files, name)
    return value if isinstance(value, dict) else {}


_downloaded: set[Path] = set()
"""Files that this process has downloaded, and that were not in the cache for anything else."""


def _download(location: Location, file: str) -> Path:
    if not is_plain(file):
        raise HubError(f"{location.name} lists {ascii(file)[:100]}, which is no name of a file")
    try:
        with translate_answers(location.repo, location.commit):
            return Path(
                hf_hub_download(
                    location.repo,
                    file,
                    revision=location.commit,
                    repo_type=location.repo_type,
                    token=api().token,
                    library_name="simmerge-hub",
                    library_version=__version__,
                    tqdm_class=LargeOnly,
                )
            )
    except RuntimeError as error:  # what hf_xet raises, be it the network or a full disk
        raise HubError(
            f"{file} of {location.repo} cannot be downloaded: {first_line(error)}",
            hint="check the network, and the space left for the cache",
        ) from error


def _check_digest(location: Location, file: str, path: Path) -> None:
    """Hold a file against what the Hub states of it."""
    entry = location.stated.get(file)
    stated = (entry.sha256 or entry.git) if entry else None
    if entry is None or stated is None:
        return
    actual = hash_path(path, "sha256" if entry.sha256 else "git")
    if actual == stated:
        return
    hint = f"the cache is damaged: delete {path.resolve()}"
    if path in _downloaded:
        discard(Fetched(path=path, new=True))
        hint = "try again; if it stays, a proxy or mirror changes what it serves"
    raise HubError(
        f"{file} of {location.repo} is not the file the Hub states: {actual[:12]}, expected "
        f"{stated[:12]}",
        hint=hint,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A whole file here; `new` if it was downloaded just now and is in no other snapshot."""

    path: Path
    new: bool


def fetch(location: Location, file: str) -> Fetched:
    """`local_file`, and whether this process has downloaded it."""
    path = local_file(location, file)
    return Fetched(path=path, new=path in _downloaded)


def is_cached(location: Location, file: str) -> bool:
    """Whether a whole file is here already; asks nobody."""
    if location.folder is not None:
        return True
    path = try_to_load_from_cache(
        location.repo, file, revision=location.commit, repo_type=location.repo_type
    )
    return isinstance(path, str)


def discard(fetched: Fetched) -> None:
    """Delete a downloaded file from huggingface_hub's cache: the snapshot's link and the blob."""
    _downloaded.discard(fetched.path)
    path = fetched.path
    blob = path.parent / path.readlink() if path.is_symlink() else path
    for each in (blob.resolve(), blob, path):
        each.unlink(missing_ok=True)
