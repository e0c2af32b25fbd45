"""Merges that need not be made: they stand in a journal or another table, and still hold."""

from collections.abc import Mapping

from simmerge_hub.hub.digest import digest
from simmerge_hub.learning.design import all_pairs
from simmerge_hub.learning.measurements import Measurement, MergeKey, load_measurements
from simmerge_hub.learning.recipe import LearnRecipe
from simmerge_hub.learning.trying import Trial
from simmerge_hub.planning.inputs import Inputs


def read_given(recipe: LearnRecipe, trial: Trial) -> dict[MergeKey, list[Measurement]]:
    """The merges of the recipe that other tables hold whole: a search's, or an earlier run's."""
    rows = {r.key: r for path in recipe.measured for r in load_measurements(path)}
    how = {"limit": recipe.limit, "seed": recipe.seed, "dtype": recipe.dtype}
    rows = {k: r for k, r in rows.items() if r.origin.items() >= how.items()}
    merges: dict[MergeKey, list[Measurement]] = {}
    for pair in all_pairs(trial.inputs.names):
        for arm in recipe.arms:
            keys = [
                (expert, auxiliary, t.name, (arm if expert == pair[0] else arm.swapped()).label)
                for expert, auxiliary, t in trial.rows_of(*pair)
            ]
            if keys and all(key in rows for key in keys):
                merges[*pair, arm.label] = [rows[key] for key in keys]
    return merges


def keep_current(
    known: Mapping[MergeKey, list[Measurement]], inputs: Inputs
) -> dict[MergeKey, list[Measurement]]:
    """Of a journal, the merges whose models are still what they were."""
    digests = {model.name: digest(model) for model in inputs.models}

    def holds(row: Measurement) -> bool:
        models = row.origin.get("models", {})
        return all(
            models.get(role, {}).get("digest") == digests.get(name)
            for role, name in (("expert", row.expert), ("auxiliary", row.auxiliary))
        )

    return {key: rows for key, rows in known.items() if all(map(holds, rows))}
