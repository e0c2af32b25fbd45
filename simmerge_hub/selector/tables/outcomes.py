"""The outcomes table: what merging two specialists really gave, one row per pair and task.

    {"format": "simmerge-hub outcomes", "schema": 1, "arms": [...], "provenance": {...}}
    {"expert": "code-1", "auxiliary": "math-3", "task": "code/f", "utilities": {...}, ...}

JSON Lines with sorted keys: the same table is the same bytes. The zoo writes it, training reads it.
This module knows nothing about models or features.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simmerge_hub.errors import PredictorError, SimmergeError
from simmerge_hub.operators import Arm, known_arm
from simmerge_hub.selector.tables.lines import TABLES, read_lines, write_text

FORMAT = "simmerge-hub outcomes"
SCHEMA = 1
OURS = re.compile(r"simmerge-hub [a-z]{1,20}")
"""How the formats of our files are called."""
SMALLEST_GAP = 0.05
"""Where expert and auxiliary differ by less, the share of the gap closed is noise."""
LOWEST, HIGHEST = -1.0, 1.5
"""The range the share of the gap closed is clipped to."""

LATER_FIELDS = ("unmerged", "log_likelihood", "unmerged_log_likelihood")
"""Fields that tables from before they were measured do not have."""
Key = tuple[str, str, str]
"""Expert, auxiliary and task: what one row is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How every arm did on one task, for one ordered pair of models.

    Args:
        expert: the model that is good at the task.
        auxiliary: the model it is merged with.
        task: `domain/variant`.
        regime: the zoo the pair comes from; pairs of one regime share a base.
        expert_utility: exact match of the expert on the task, in [0, 1]; likewise the next two.
        auxiliary_utility: of the auxiliary.
        base_utility: of the base they were both tuned from.
        utilities: arm label -> exact match of the merge; weights in the order (expert, auxiliary).
        secondary: arm label -> token accuracy of the merge, in [0, 1].
        halves: arm label -> exact match on the even and on the odd prompts, where known. What is
            chosen on one half can be judged on the other.
        unmerged: "expert", "auxiliary", "base" -> its token accuracy on the task, where known.
        log_likelihood: arm label -> mean log likelihood per answer token of the merge, in nats, on
            the even and on the odd prompts, where known.
        unmerged_log_likelihood: "expert", "auxiliary", "base" -> the same on all prompts.
    """

    expert: str
    auxiliary: str
    task: str
    regime: str
    expert_utility: float
    auxiliary_utility: float
    base_utility: float
    utilities: Mapping[str, float]
    secondary: Mapping[str, float] = field(default_factory=dict)
    halves: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    unmerged: Mapping[str, float] = field(default_factory=dict)
    log_likelihood: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    unmerged_log_likelihood: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """(expert, auxiliary, task)."""
        return (self.expert, self.auxiliary, self.task)

    @property
    def gap(self) -> float:
        """The utility that merging can lose: the expert's minus the auxiliary's."""
        return self.expert_utility - self.auxiliary_utility


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """A table of outcomes; `arms` are the columns, `provenance` says what was measured."""

    arms: tuple[Arm, ...]
    rows: tuple[Outcome, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """sha256 of the table as it is written."""
        return hashlib.sha256(_text(self).encode()).hexdigest()


def gap_closed(row: Outcome, utility: float) -> float:
    """(u − u(auxiliary)) / (u(expert) − u(auxiliary)), clipped to [-1, 1.5] (SimMerge)."""
    return min(HIGHEST, max(LOWEST, (utility - row.auxiliary_utility) / row.gap))


def save_outcomes(outcomes: Outcomes, path: Path) -> None:
    """Write the table to `path` in one step, rows sorted by (expert, auxiliary, task)."""
    write_text(path, _text(outcomes))


def load_outcomes(path: Path) -> Outcomes:
    """Read and check the table at `path`. Raises PredictorError naming the line that is wrong."""
    try:
        (_, header), *lines = read_lines(path) or [(1, {})]
    except ValueError as error:
        raise PredictorError(f"{path} cannot be read: {error}", hint=TABLES) from error
    check_header(header, FORMAT, SCHEMA, path)
    try:
        arms = tuple(arm_from(entry) for entry in header["arms"])
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        SimmergeError,
    ) as error:
        raise PredictorError(f"{path}, line 1: arms that cannot be read: {error}") from error
    labels = [a.label for a in arms]
    rows = tuple(_outcome(fields, labels, f"{path}, line {number}") for number, fields in lines)
    keys = [row.key for row in rows]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise PredictorError(f"{path}: two rows for {' + '.join(twice)}", hint="keep one of them")
    return Outcomes(arms=arms, rows=rows, provenance=header.get("provenance", {}))


def arm_from(entry: Mapping[str, Any]) -> Arm:
    """The arm that `{"operator": …, "parameters": {…}}` describes, checked by the registry.

    What an operator refuses only when it is run is told when it is.
    """
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in entry["parameters"].items()}
    return known_arm(entry["operator"], **given)


def arm_entry(chosen: Arm) -> dict[str, Any]:
    """The arm as JSON: the inverse of `arm_from`."""
    return {"operator": chosen.operator, "parameters": dict(chosen.parameters)}


def check_header(header: Any, format: str, schema: int, path: Path | str) -> None:
    """Raise PredictorError unless the first line says that the file is of this kind and version."""
    if not isinstance(header, dict) or header.get("format") != format:
        raise PredictorError(
            f"{path} is not a file of {format}{_seen(header)}",
            hint=f'name a file that says "format": "{format}"',
        )
    if header.get("schema") != schema:
        raise PredictorError(
            f"{path} has schema {header.get('schema')!r}; this version reads {schema}",
            hint="rebuild it, or use the version of simmerge-hub that wrote it",
        )


def _seen(header: Any) -> str:
    """What of ours the file is instead; "" of one of others."""
    found = header.get("format") if isinstance(header, dict) else None
    ours = isinstance(found, str) and OURS.fullmatch(found)
    return f", but of {found}" if ours else ""


def _outcome(fields: dict[str, Any], labels: list[str], where: str) -> Outcome:
    try:
        halves, likelihood = (_halves(fields.pop(n, {})) for n in ("halves", "log_likelihood"))
        row = Outcome(**fields, halves=halves, log_likelihood=likelihood)
        _check_kinds(row)
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise PredictorError(f"{where} is not an outcome: {error}") from error
    missing = [label for label in labels if label not in row.utilities]
    if missing:
        raise PredictorError(f"{where} has no utility for {', '.join(missing)}")
    scores = (row.expert_utility, row.auxiliary_utility, row.base_utility)
    for score in (
        *scores,
        *row.utilities.values(),
        *row.secondary.values(),
        *row.unmerged.values(),
    ):
        if not _is_number(score) or not 0 <= score <= 1:
            raise PredictorError(f"{where}: {score!r} is not a score between 0 and 1")
    _check_likelihoods(row, where)
    return row


def _check_kinds(row: Outcome) -> None:
    """TypeError unless names are texts, and tables tables."""
    for name in ("expert", "auxiliary", "task", "regime"):
        if not isinstance(getattr(row, name), str):
            raise TypeError(f"its {name} is no text")
    for name in ("utilities", "secondary", "unmerged", "unmerged_log_likelihood"):
        if not isinstance(getattr(row, name), dict):
            raise TypeError(f"its {name} is no object")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _check_likelihoods(row: Outcome, where: str) -> None:
    pairs = row.log_likelihood.values()
    for value in (*(v for both in pairs for v in both), *row.unmerged_log_likelihood.values()):
        if not _is_number(value) or value > 0:
            raise PredictorError(f"{where}: {value!r} is not a log likelihood")


def _halves(given: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    return {label: (float(even), float(odd)) for label, (even, odd) in given.items()}


def _text(outcomes: Outcomes) -> str:
    header = {
        "format": FORMAT,
        "schema": SCHEMA,
        "arms": [arm_entry(a) for a in outcomes.arms],
        "provenance": outcomes.provenance,
    }
    rows = [_fields(row) for row in sorted(outcomes.rows, key=lambda row: row.key)]
    return "".join(json.dumps(line, sort_keys=True) + "\n" for line in (header, *rows))


def _fields(row: Outcome) -> dict[str, Any]:
    """The row as JSON; what is not known is left out, as in tables from before it was measured."""
    return {key: value for key, value in asdict(row).items() if value or key not in LATER_FIELDS}
