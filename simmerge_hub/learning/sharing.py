"""Measured merges -> a dataset on the Hub with a card, which others learn from too."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from simmerge_hub.errors import OutputError
from simmerge_hub.learning.measurements import Measurement, load_measurements
from simmerge_hub.learning.tables import MEASUREMENTS_FILE, OUTCOMES_FILE, TABLE_FILES
from simmerge_hub.literal import literal
from simmerge_hub.publishing.card import table
from simmerge_hub.recipe import dump_yaml
from simmerge_hub.selector.tables.outcomes import Outcomes, load_outcomes

if TYPE_CHECKING:
    from simmerge_hub.hub.upload.publish import Commit


def push_table(folder: Path, repo_id: str, *, private: bool = False) -> "Commit":
    """Push the tables that `learn` wrote as a dataset of their own, with a card, in one commit.

    Raises:
        OutputError: the dataset holds something else, or the folder no tables.
        PushFailed: it was refused; no commit was made.
    """
    from simmerge_hub.hub.upload.publish import publish_folder, refuse_others

    absent = [name for name in TABLE_FILES if not (folder / name).is_file()]
    if absent:
        raise OutputError(
            f"{folder} has no {absent[0]}", hint="let simmerge-hub learn finish there first"
        )
    refuse_others(repo_id, TABLE_FILES, repo_type="dataset")
    outcomes = load_outcomes(folder / OUTCOMES_FILE)
    rows = load_measurements(folder / MEASUREMENTS_FILE)
    with TemporaryDirectory() as staging:
        for name in TABLE_FILES:
            Path(staging, name).write_bytes((folder / name).read_bytes())
        Path(staging, "README.md").write_text(table_card(rows, outcomes, repo_id), "utf-8")
        return publish_folder(
            staging,
            repo_id,
            repo_type="dataset",
            private=private,
            message=f"Measured merges: {len(rows)} rows, {outcomes.digest[:12]}",
        )


def table_card(rows: list[Measurement], outcomes: Outcomes, repo_id: str) -> str:
    """The text of README.md for a dataset of measured merges."""
    data = {"tags": ["simmerge", "simmerge-outcomes", "model-merging"]}
    known = outcomes.provenance
    failed = Counter(row.failed for row in rows if row.failed)
    parts = [
        f"---\n{dump_yaml(data)}---",
        "# Measured merges",
        f"{len(rows)} measurements of merges of two models; {len(outcomes.rows)} rows have every "
        "arm. Each is a merge that was made and evaluated on a task at which its models differ. "
        f"Learn from them together with your own:\n\n```yaml\ntogether: [{repo_id}]\n```",
        "## What each arm keeps\n\nMean share of the expert's score.\n\n"
        + table(["arm", "measurements", "share kept"], _arms(rows)),
        "## What was evaluated\n\n" + table(["task", "in the harness"], _shown(_tasks(outcomes))),
        f"At most {known.get('limit')} prompts of each task, drawn by seed {known.get('seed')}.",
        "## Models\n\n" + table(["model", "commit"], _shown(_models(outcomes))),
    ]
    if failed:
        rows_failed = [[literal(why), str(count)] for why, count in failed.most_common()]
        parts.append("## What failed\n\n" + table(["why", "measurements"], rows_failed))
    return "\n\n".join(parts) + "\n"


def _shown(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Names of others as text: no HTML, link or image of theirs."""
    return [list(map(literal, row)) for row in rows]


def _arms(rows: list[Measurement]) -> list[list[str]]:
    by_arm: dict[str, list[float]] = {}
    for row in rows:
        if row.utility is not None and row.alone.get("expert"):
            by_arm.setdefault(row.arm, []).append(row.utility / row.alone["expert"])
    ordered = sorted(by_arm.items(), key=lambda item: -fmean(item[1]))
    return [[f"`{arm}`", str(len(kept)), f"{fmean(kept):.2f}"] for arm, kept in ordered]


def _tasks(outcomes: Outcomes) -> list[list[str]]:
    return [[t, e] for t, e in dict(outcomes.provenance.get("evaluation", {})).items()]


def _models(outcomes: Outcomes) -> list[list[str]]:
    commits = dict(outcomes.provenance.get("commits", {}))
    return [[name, str(commit or "a folder")] for name, commit in commits.items()]
