"""What to merge and how: YAML <-> Recipe. Knows nothing of who chose it.

A recipe is the truth about a merge: pinned inputs, steps, dtype. It is written beside the weights,
into their safetensors metadata and on the card, and redoes the merge bit for bit. A plan is a
recipe with a `why:`; editing the recipe by hand voids that `why:`.
"""

from simmerge_hub.recipe.checks import check_recipe
from simmerge_hub.recipe.inputs import fetch, fetch_all, pin, source
from simmerge_hub.recipe.load import RECIPE_FILE, load
from simmerge_hub.recipe.reading import parse
from simmerge_hub.recipe.recipe import SHARD_SIZE, Recipe, Slice, Source, Step
from simmerge_hub.recipe.why import Why
from simmerge_hub.recipe.writing import dump_yaml

__all__ = [
    "RECIPE_FILE", "SHARD_SIZE", "Recipe", "Slice", "Source", "Step", "Why",
    "check_recipe", "dump_yaml", "fetch", "fetch_all", "load", "parse", "pin", "source",
]  # fmt: skip
