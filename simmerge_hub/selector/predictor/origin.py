"""Where a predictor comes from: the package, a file here, or a repository on the Hub.

A repository of a predictor holds `predictor.json`, which is data: it is read with every check of
`selector.predictor.archive`, and nothing in it is run.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from simmerge_hub.errors import PredictorError
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.reference import ModelRef, local_folder, resolve_files
from simmerge_hub.selector.predictor import archive
from simmerge_hub.selector.predictor.predictor import Predictor

PREDICTOR_FILE = "predictor.json"
"""What the file is called in a repository."""
PACKAGED = "the package"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A predictor and where it comes from: `the package`, `a local file`, `org/name@commit`."""

    predictor: Predictor
    origin: str


def find(reference: str | Path | None = None) -> Trained:
    """The predictor that a reference names.

    Args:
        reference: a file, a folder with `predictor.json`, or `org/name[@revision]`; the packaged
            predictor if None. What exists here wins.

    Raises:
        PredictorError: there is none, or it cannot be believed.
        HubError: the repository cannot be read, or it is neither a path nor a repository's name.
    """
    if reference is None:
        return _load_packaged()
    file = _local_file(str(reference))
    if file is None:
        return _from_hub(ModelRef.parse(str(reference)))
    if not file.is_file():
        raise PredictorError(
            f"there is no predictor {file}",
            hint="name a file, or a repository: org/name or org/name@revision",
        )
    return Trained(predictor=archive.load(file), origin="a local file")


def packaged_predictor() -> Path:
    """The file of the predictor that a plan uses by default."""
    return Path(str(files("simmerge_hub.selector.predictor").joinpath("default.json")))


@cache
def _load_packaged() -> Trained:
    """Read once: it belongs to the package, and does not change while that runs."""
    return Trained(predictor=archive.load(packaged_predictor(), ours=True), origin=PACKAGED)


def _from_hub(ref: ModelRef) -> Trained:
    location, present = resolve_files(ref)
    entry = present.get(PREDICTOR_FILE)
    if entry is None:
        raise PredictorError(
            f"{ref} holds no {PREDICTOR_FILE}: it is no predictor",
            hint="simmerge-hub predictor push FILE REPO makes such a repository",
        )
    if entry.size > archive.LARGEST_FILE:
        raise PredictorError(
            f"{PREDICTOR_FILE} of {ref} has {entry.size:,} bytes, which no predictor needs",
            hint="tell its author, or name another predictor",
        )
    pinned = f"{location.repo}@{location.commit}"
    predictor = archive.load(
        local_file(location, PREDICTOR_FILE), name=f"{PREDICTOR_FILE} of {pinned}"
    )
    return Trained(predictor=predictor, origin=pinned)


def _local_file(text: str) -> Path | None:
    """The file that a reference means, or None if it means a repository.

    What is a folder is `hub.reference`'s to say; besides, a file may be here, or be meant by its
    ending.
    """
    place = local_folder(text, new=True)
    if place is None and (Path(text).is_file() or text.partition("@")[0].endswith(".json")):
        place = Path(text)
    return place / PREDICTOR_FILE if place is not None and place.is_dir() else place
