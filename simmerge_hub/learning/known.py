"""Merges that need not be made: they stand in a journal or another table, and still hold."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from simmerge_hub.learning.catalogue import base_of
from simmerge_hub.learning.design import all_pairs
from simmerge_hub.learning.measurements import Measurement, MergeKey, load_measurements
from simmerge_hub.learning.recipe import LearnRecipe, LearnTask
from simmerge_hub.learning.trying import Trial, content_of, origin_of


def read_given(recipe: LearnRecipe, trial: Trial) -> dict[MergeKey, list[Measurement]]:
    """The merges of the recipe that other tables hold whole: a search's, or an earlier run's.

    Only those that were measured as this recipe would: from the same base, by the same version of
    the harness, on the same tasks, put in the same way.
    """
    rows = {r.key: r for path in recipe.measured for r in load_measurements(path)}
    base = base_of(trial.inputs)
    asked = {task.name: _asked(recipe, task) for task in recipe.tasks}
    rows = {
        key: row
        for key, row in rows.items()
        if row.task in asked
        and _measured_so(row, asked[row.task])
        and origin_of(trial, base).items() <= _origin(row, "base").items()
    }
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


def _asked(recipe: LearnRecipe, task: LearnTask) -> dict[str, Any]:
    """What the origin of a row on a task must say; a task in files is those, wherever they lie."""
    content = content_of(task)
    return {
        "limit": recipe.limit,
        "seed": recipe.seed,
        "dtype": recipe.dtype,
        "harness": version("lm_eval"),
        **({"content": content} if content else {"evaluate": task.evaluate, "content": ""}),
    }


def _measured_so(row: Measurement, asked: Mapping[str, Any]) -> bool:
    """Rows of before tasks in files were told apart say nothing of content: "" is meant."""
    return {"content": "", **row.origin}.items() >= asked.items()


def _origin(row: Measurement, role: str) -> dict[str, Any]:
    return row.origin.get("models", {}).get(role, {})


def keep_current(
    known: Mapping[MergeKey, list[Measurement]], recipe: LearnRecipe, trial: Trial
) -> dict[MergeKey, list[Measurement]]:
    """Of a journal, the merges whose models, and prompts where a merge looks at activations, are
    still what they were. Those of models that the recipe names no more were paid for too: it may
    name them again."""
    arms = {arm.label: arm for arm in recipe.arms}
    models = {model.name: model for model in trial.inputs.models}

    @cache
    def current(name: str, label: str) -> dict[str, object]:
        return origin_of(trial, models[name], arms.get(label)) if name in models else {}

    def holds(label: str, row: Measurement) -> bool:
        return all(
            current(name, label).items() <= _origin(row, role).items()
            for role, name in (("expert", row.expert), ("auxiliary", row.auxiliary))
        )

    return {key: rows for key, rows in known.items() if all(holds(key[2], row) for row in rows)}
