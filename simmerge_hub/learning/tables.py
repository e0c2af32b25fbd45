"""Measurements -> the tables that training reads; tables of others, from files or the Hub."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from simmerge_hub.errors import PredictorError, RequestError
from simmerge_hub.learning.measurements import Measurement, load_measurements
from simmerge_hub.learning.recipe import LearnRecipe, Table
from simmerge_hub.operators import Arm
from simmerge_hub.selector.tables.features import FeatureTable, load_features
from simmerge_hub.selector.tables.outcomes import Key, Outcome, Outcomes, load_outcomes
from simmerge_hub.selector.training.scenarios import FEWEST_MODELS

OUTCOMES_FILE, FEATURES_FILE = "outcomes.jsonl.gz", "features.jsonl.gz"
MEASUREMENTS_FILE = "measurements.jsonl.gz"
TABLE_FILES = (MEASUREMENTS_FILE, OUTCOMES_FILE, FEATURES_FILE)
"""What a dataset of measured merges holds, besides its card."""
JOURNAL_FILE, STATE_FILE = "journal.jsonl", "search.jsonl"
"""What `learn` and `search` keep of merges as they are made; both write MEASUREMENTS_FILE, so one
folder is of one of them."""


def check_own(folder: Path, journal: str, written: Sequence[str]) -> None:
    """RequestError if the folder is not this run's, and something there would be written over.

    Args:
        folder: there or not.
        journal: by which a run that was cut off knows its folder.
        written: names in the folder that the run writes.
    """
    if (folder / journal).exists():
        return
    for name in (JOURNAL_FILE, STATE_FILE, *written):
        if (folder / name).exists():
            raise RequestError(
                f"{folder} holds {name} of something else, which this would write over or beside",
                hint="name a folder of its own: -o DIR",
            )


def outcomes_of(
    rows: Sequence[Measurement], arms: Sequence[Arm], regime: str, provenance: Mapping[str, object]
) -> Outcomes:
    """The rows of which every arm was measured, as training reads them; the others are counted.

    Args:
        rows: measurements.
        arms: the columns.
        regime: what the pairs of one base are called.
        provenance: of the table, which the number of incomplete rows is added to.
    """
    by_key: dict[Key, list[Measurement]] = {}
    for row in rows:
        by_key.setdefault((row.expert, row.auxiliary, row.task), []).append(row)
    labels = {arm.label for arm in arms}
    whole, partial = list[Outcome](), 0
    for key, some in by_key.items():
        scored = {r.arm: r for r in some if r.utility is not None}
        if labels <= scored.keys():
            whole.append(_outcome(key, {la: scored[la] for la in sorted(labels)}, regime))
        else:
            partial += 1
    known = {**provenance, "incomplete": partial}
    return Outcomes(arms=tuple(arms), rows=tuple(whole), provenance=known)


def _outcome(key: Key, by_arm: Mapping[str, Measurement], regime: str) -> Outcome:
    expert, auxiliary, task = key
    alone = next(iter(by_arm.values())).alone
    return Outcome(
        expert=expert,
        auxiliary=auxiliary,
        task=task,
        regime=regime,
        expert_utility=alone["expert"],
        auxiliary_utility=alone["auxiliary"],
        base_utility=alone["base"],
        utilities={label: row.utility or 0.0 for label, row in by_arm.items()},
        halves={label: row.halves for label, row in by_arm.items() if row.halves},
    )


def load_others(
    recipe: LearnRecipe, names: Sequence[str], *, fit: bool
) -> list[tuple[Outcomes, FeatureTable]]:
    """The tables of others that a recipe names; whether they can be learned from together with
    what it measures is known before anything is.

    Args:
        recipe: what is measured and learned from.
        names: of its models.
        fit: whether a predictor is to be trained.

    Raises:
        PredictorError: a table cannot be read, those of `measured` too, or has no arm of the
            recipe, or what it measures.
        HubError: a dataset is not there.
        RequestError: there are too few models to train on.
    """
    for path in recipe.measured:
        load_measurements(path)
    loaded = [(table, *load_table(table)) for table in recipe.together]
    common = list(recipe.arms)
    for table, outcomes, _ in loaded:
        where = table.repo or table.outcomes
        common = [arm for arm in common if arm in outcomes.arms]
        if not common:
            held = ", ".join(arm.label for arm in outcomes.arms)
            raise PredictorError(
                f"{where} has no arm that the recipe and its other tables have too",
                hint=f"add one of its arms to the recipe, or leave it out; it has {held}",
            )
        _refuse_same(recipe, names, outcomes, where)
    models = {*names, *(m for _, o, _ in loaded for r in o.rows for m in (r.expert, r.auxiliary))}
    if fit and len(models) < FEWEST_MODELS:
        raise RequestError(
            f"a predictor needs the outcomes of {FEWEST_MODELS} models at least, and the recipe "
            f"has {len(models)}, with all its tables",
            hint="name more models, or tables of others (`together`, --outcomes); or only measure: "
            "--no-train",
        )
    return [(outcomes, features) for _, outcomes, features in loaded]


def _refuse_same(recipe: LearnRecipe, names: Sequence[str], outcomes: Outcomes, where: str) -> None:
    """PredictorError if a table holds a row that the recipe measures: one of the two is true."""
    tasks = {task.name for task in recipe.tasks}
    for row in outcomes.rows:
        if row.expert in names and row.auxiliary in names and row.task in tasks:
            raise PredictorError(
                f"{where} holds {' + '.join(row.key)}, which the recipe measures",
                hint="leave it out; merges that were measured in the same way are taken over from "
                f"its {MEASUREMENTS_FILE}: `measured: [FILE]`",
            )


def load_table(table: Table) -> tuple[Outcomes, FeatureTable]:
    """Outcomes and features of others, thinned to so many rows if the recipe says so.

    Raises:
        PredictorError: they cannot be read.
        HubError: the dataset is not there.
    """
    if table.repo:
        outcomes, features = (_from_hub(table.repo, f) for f in (OUTCOMES_FILE, FEATURES_FILE))
    else:
        outcomes, features = Path(table.outcomes), Path(table.features)
    measured = load_outcomes(outcomes)
    if table.rows and len(measured.rows) > table.rows:
        step = len(measured.rows) / table.rows
        kept = tuple(measured.rows[int(i * step)] for i in range(table.rows))
        measured = replace(measured, rows=kept)
    return measured, load_features(features)


def _from_hub(repo: str, name: str) -> Path:
    from simmerge_hub.hub.upload.attachments import find

    attachment = find(repo, name, repo_type="dataset")
    if attachment is None:
        raise PredictorError(
            f"the dataset {repo} holds no {name}: it is no table of measured merges",
            hint="simmerge-hub learn RECIPE -o DIR --push ORG/NAME makes such a dataset",
        )
    return attachment.fetch()
