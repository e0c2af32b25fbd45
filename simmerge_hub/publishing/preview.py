"""The model card of a merge that was not made yet, from what `check` knows of it."""

from pathlib import Path

from simmerge_hub.merger import MergeReport, Preflight
from simmerge_hub.merger.report import versions
from simmerge_hub.publishing.card import card
from simmerge_hub.publishing.sections.usage import REPO_ID
from simmerge_hub.recipe import Why

NAME = "org/name"
"""What the merge is called before it has a repository."""


def preview_card(preflight: Preflight, why: Why | None = None) -> str:
    """README.md as `merge` would write it, but for what only reading the weights tells.

    Args:
        preflight: what `check` says of the recipe.
        why: the plan's `why:`, or None where nothing was predicted for it.
    """
    layout = preflight.layout
    report = MergeReport(
        recipe=layout.recipe,
        folder=Path(),
        checkpoints=layout.checkpoints,
        tensors=len(layout.entries),
        size=preflight.output,
        seconds=preflight.seconds,
        versions=versions(),
        notes=layout.notes,
    )
    return card(report, why).replace(REPO_ID, NAME)
