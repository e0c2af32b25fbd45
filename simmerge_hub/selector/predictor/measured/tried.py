"""From what a tried merge keeps of an expert's own answers to the share of the gap it closes.

A line through merges whose truth is known, fitted with what was predicted of them by predictors
that knew neither model, and without. Made by `benchmarks/trying.py`; intervals are from models left
out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from simmerge_hub.selector.models.conformal import WITHIN
from simmerge_hub.selector.tables.outcomes import HIGHEST, LOWEST
from simmerge_hub.signatures.merged.kept import Kept

TRIED = Path(__file__).parent / "tried.json"
REGAINED = (-0.5, 1.2)
"""The range a log-likelihood between base and expert is cut off to: beyond, it says no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line.

    Args:
        intercept: at 0 everywhere.
        weights: of what `read_inputs` gives, then of the predicted gain where it is read.
        radius: half-width of the interval that holds `coverage` of models left out.
    """

    intercept: float
    weights: tuple[float, ...]
    radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedModel:
    """What is expected of merges that were tried.

    Args:
        of: what was merged, in words.
        rows: merges on one task each.
        coverage: the share of outcomes that intervals hold.
        answers: how many of an expert's answers each of them was held against.
        predicted: with the predicted gain.
        blind: where nothing is predicted.
    """

    of: str
    rows: int
    coverage: float
    answers: int
    predicted: Line
    blind: Line

    def expect(self, kept: Kept, predicted: float | None) -> tuple[float, float]:
        """The share of the gap that a merge closes, and the half-width of its interval.

        Args:
            kept: what it keeps of the expert's answers.
            predicted: the gain that was predicted before it was made; None where nothing was.
        """
        values = read_inputs(kept)
        line = self.blind if predicted is None else self.predicted
        if predicted is not None:
            values = (*values, predicted)
        gain = line.intercept + sum(w * v for w, v in zip(line.weights, values, strict=True))
        return min(HIGHEST, max(LOWEST, gain)), self._width(line, kept)

    def _width(self, line: Line, kept: Kept) -> float:
        """Wider where fewer answers were there than in the outcomes the line was fitted on: a share
        p of n has a variance of p(1 − p)/n, with p drawn in (Agresti and Coull 1998)."""
        share = (kept.count * kept.weighted + 1) / (kept.count + 2)
        more = max(0.0, share * (1 - share) * (1 / kept.count - 1 / self.answers))
        return float((line.radius**2 + WITHIN**2 * more) ** 0.5)


def read_inputs(kept: Kept) -> tuple[float, ...]:
    """What the lines read, in order."""
    low, high = REGAINED
    return kept.weighted, kept.probability, min(high, max(low, kept.regained))


@cache
def read(path: Path = TRIED) -> TriedModel:
    """The model in the package."""
    entry = json.loads(path.read_text())
    return TriedModel(
        of=entry["of"],
        rows=int(entry["rows"]),
        coverage=float(entry["coverage"]),
        answers=int(entry["answers"]),
        predicted=_line(entry["predicted"]),
        blind=_line(entry["blind"]),
    )


def _line(entry: Mapping[str, float | Sequence[float]]) -> Line:
    return Line(**{key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()})  # type: ignore[arg-type]
