"""A merge that was made again, beside the digests that the first one recorded of itself."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.files.cached import read_small, read_text
from simmerge_hub.hub.files.checksums import CHECKSUMS_FILE, parse_checksums
from simmerge_hub.hub.reference import ModelRef, home_path, resolve_files
from simmerge_hub.merger import MergeReport
from simmerge_hub.publishing.trust.verify import Verification, compare_digests, of_a_redo
from simmerge_hub.recipe import RECIPE_FILE

MADE_WITH = re.compile(r"made with ((?:[\w-]+ [\w.+!-]+, )*[\w-]+ [\w.+!-]+)\.(?:\s|$)")
"""How a card states the versions that a merge was made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a merge recorded of itself: its files' sha256, the versions it was made with."""

    name: str
    digests: Mapping[str, str]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redo:
    """The files of a redone merge beside those of the first; `reasons` why some may differ."""

    files: Verification
    reasons: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether every file has the same bytes."""
        return self.files.holds


def read_recorded(reference: str | Path) -> Recorded | None:
    """What the merge that is redone recorded; None for a plan or recipe, and for a merge that
    recorded nothing.

    Raises:
        HubError: the repository cannot be read.
    """
    path = home_path(reference)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        return None
    ref = ModelRef.parse(str(reference))
    location, files = resolve_files(ref)
    if CHECKSUMS_FILE not in files or RECIPE_FILE not in files:
        return None
    try:
        digests = parse_checksums(read_small(location, files, CHECKSUMS_FILE), str(ref))
    except CheckpointError:
        return None
    versions = _versions(read_text(location, files, "README.md"))
    return Recorded(name=str(ref), digests=digests, versions=versions)


def _versions(card: str) -> dict[str, str]:
    stated = MADE_WITH.findall(card)
    pairs = (each.rpartition(" ") for each in stated[-1].split(", ")) if stated else ()
    return {name: number for name, _, number in pairs}


def compare_redo(recorded: Recorded, report: MergeReport) -> Redo:
    """Hold a merge that was just made against what the first recorded; reads no weights."""
    digests = of_a_redo(recorded.digests, report.digests)
    files = compare_digests(str(report.folder), digests, report.digests, report.digests)
    return Redo(files=files, reasons=() if files.holds else tuple(_reasons(recorded, report)))


def _reasons(recorded: Recorded, report: MergeReport) -> Iterator[str]:
    for name, number in recorded.versions.items():
        if (now := report.versions.get(name)) != number:
            yield f"it was made with {name} {number}, and now with {now}"
    if report.recipe.sees_activations:
        yield "the models were run for it, and another processor may answer or round otherwise"
    elif report.recipe.output == "adapter":
        yield "the last digits of a rank that is cut depend on the processor and its threads"
    else:
        yield "another processor may round otherwise"
    yield f"its own files may be others by now: simmerge-hub verify {shlex.quote(recorded.name)}"
