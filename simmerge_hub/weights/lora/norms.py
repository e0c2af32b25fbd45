"""What the rank of each merged module leaves out, kept until an adapter is written whole.

A later run goes on with the modules that are left, and its report is about all of them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from simmerge_hub.weights.writing.partial import Partial

FILE = ".norms"


@dataclass(frozen=True, slots=True)
class NormLog:
    """Module -> the Frobenius norms of what its rank leaves out and of its delta."""

    norms: dict[str, tuple[float, float]]
    file: IO[str]

    def keep(self, module: str, norms: tuple[float, float]) -> None:
        """Note a module that is written; a float is kept to its last bit."""
        self.norms[module] = norms
        self.file.write(json.dumps([module, *norms]) + "\n")
        self.file.flush()


@contextmanager
def open_norms(partial: Partial) -> Iterator[NormLog]:
    """Those of an earlier run, to be added to; the file is gone when the block ends."""
    path = partial.folder / FILE
    if not partial.done:
        path.unlink(missing_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    with path.open("w", encoding="utf-8") as file:
        log = NormLog({}, file)
        for module, norms in filter(None, map(_read_entry, lines)):
            log.keep(module, norms)
        yield log
    path.unlink()


def _read_entry(line: str) -> tuple[str, tuple[float, float]] | None:
    """None for a line that was cut short."""
    try:
        module, residue, norm = json.loads(line)
        return str(module), (float(residue), float(norm))
    except (ValueError, TypeError):
        return None
