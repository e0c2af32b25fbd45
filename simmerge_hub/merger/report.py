"""What a merge did, and the texts that say so beside its weights."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.operators.registry import own_code
from simmerge_hub.recipe import RECIPE_FILE, Recipe
from simmerge_hub.version import __version__, digest_code

MAKERS = ("merger", "operators", "recipe", "weights", "signatures/probing")
"""Rooms whose code makes the bytes of a merge."""
CPU = "CPU"
"""Among what computes: the kind of its CPU. The others are versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What a merge did: the pinned recipe, where it lies, and what it cost.

    `size` is bytes of the weight files; `checkpoints` the inputs as they were resolved; `notes`
    what was decided by rule, in sentences; `taken_over` tensors that an earlier run had written;
    `digests` the sha256 of the files that it wrote, by name, as SHA256SUMS has them.
    """

    recipe: Recipe
    folder: Path
    checkpoints: Mapping[str, Checkpoint]
    tensors: int
    size: int
    seconds: float
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    taken_over: int = 0
    digests: Mapping[str, str] = field(default_factory=dict, repr=False)


Page = Callable[[MergeReport], Mapping[str, str]]
"""The README.md of a merge, and texts that belong to it, by file name."""


def identify(recipe: Recipe, *what: object) -> str:
    """What says that a run makes the same bytes as another: what is made, and the code that makes
    it, one's own operators included."""
    made_by = (describe_computing(), own_code(recipe.operators))
    return sha256(repr((what, made_by)).encode()).hexdigest()


def describe_computing() -> dict[str, str]:
    """What the bytes of a merge depend on: versions, this package's with a digest of its code, and
    the kind of CPU.

    Torch computes the same with AVX2 and AVX512, and rounds otherwise with its DEFAULT code, which
    is for CPUs without either.
    """
    import torch

    default = torch.backends.cpu.get_cpu_capability() == "DEFAULT"
    code = "torch's DEFAULT code" if default else "torch's vector code"
    return versions() | {
        "simmerge-hub": f"{__version__} (code {digest_code(*MAKERS)[:12]})",
        CPU: f"{platform.machine()} ({code})",
    }


def versions() -> dict[str, str]:
    """Of what the bytes of a merge depend on."""
    return {"simmerge-hub": __version__} | {name: version(name) for name in ("torch", "numpy")}


def write_texts(report: MergeReport, folder: Path, notes: str, page: Page | None) -> None:
    """The recipe with its notes, and the card with what belongs to it."""
    text = report.recipe.to_yaml(published=True) + notes
    (folder / RECIPE_FILE).write_text(text, encoding="utf-8")
    if page is not None:
        for name, content in page(report).items():
            (folder / name).write_text(content, encoding="utf-8")
