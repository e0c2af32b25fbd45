"""SHA256SUMS: the sha256 of every file that a merge wrote, as `sha256sum -c` reads it.

Knows the visible files of a folder; nothing of what is in them. The card is not listed, nor
its pictures: its owner may edit it, and pushing it writes the repository's name into it.
"""

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.files.hashes import hash_contents

CHECKSUMS_FILE = "SHA256SUMS"
PICTURES = ("chart.svg", "merge-tree.svg")
"""Of a merge's card: what it keeps of each skill, and what was merged with what."""
UNLISTED = ("README.md", *PICTURES, CHECKSUMS_FILE)
"""The card and its pictures: they change when a score is measured, or by hand."""
EARLIER_PICTURE = "plan.svg"
"""What the card's picture was called when it was listed; nothing makes it any more."""
LARGEST_CHECKSUMS = 2**20
"""Bytes; a thousand shards have a tenth of that."""
LINE = re.compile(r"([0-9a-f]{64}) [ *](\S|\S.*\S)")


def visible_files(folder: Path, *, links: bool = False) -> dict[str, Path]:
    """The files of a folder and of folders inside it by their name there; nothing hidden."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and (links or not p.is_symlink()))
    inside = {p.relative_to(folder).as_posix(): p for p in paths}
    return {name: path for name, path in inside.items() if not is_hidden(name)}


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder it is in, begins with a dot."""
    return any(part.startswith(".") for part in name.split("/"))


def write_checksums(folder: Path, elsewhere: Mapping[str, str] | None = None) -> dict[str, str]:
    """Read every visible file of a folder once, a file a core, and write SHA256SUMS beside them.

    Args:
        folder: where a merge lies.
        elsewhere: the sha256 of files of the merge that are not there any more, by name.

    Returns:
        What is listed: the sha256 of each file, by name.
    """
    hashes = hash_files({n: p for n, p in visible_files(folder).items() if n not in UNLISTED})
    hashes |= elsewhere or {}
    names = sorted(hashes, key=lambda name: name.split("/"))  # as `visible_files` has them
    text = "".join(f"{hashes[name]}  {name}\n" for name in names)
    (folder / CHECKSUMS_FILE).write_text(text, encoding="utf-8")
    return hashes


def hash_files(files: dict[str, Path]) -> dict[str, str]:
    """The sha256 of files as they are now, whatever was remembered of them."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = pool.map(lambda path: hash_contents(path, "sha256"), files.values())
        return dict(zip(files, hashes, strict=True))


def parse_checksums(data: bytes, where: str) -> dict[str, str]:
    """SHA256SUMS -> file name -> sha256.

    Raises:
        CheckpointError: it is anything else than lines of a digest and the name of a file inside.
    """
    text = data.decode(errors="replace") if len(data) <= LARGEST_CHECKSUMS else ""
    lines = [LINE.fullmatch(line) for line in text.splitlines()]
    checksums = {line[2]: line[1] for line in lines if line}
    if not checksums or len(checksums) != len(lines) or any(map(_leads_out, checksums)):
        raise CheckpointError(
            f"{CHECKSUMS_FILE} of {where} is not a list of sha256 digests and file names",
            hint="merge again: the recipe beside it still holds",
        )
    return checksums


def _leads_out(name: str) -> bool:
    return any(part in ("", ".", "..") for part in name.split("/"))
