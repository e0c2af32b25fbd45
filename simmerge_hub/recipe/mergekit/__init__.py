"""Recipes of mergekit 0.1.5: read as they are, and written.

parameters  its 20 methods and what their parameters are called here
settings    one parameter, with its gradients, filters and precedence
references  how it names models
refusals    everything that has no counterpart, in one error
reading     its YAML -> Recipe
writing     Recipe -> its YAML

Works on text: no model is looked at, nothing is downloaded.
"""

from simmerge_hub.recipe.mergekit.document import is_mergekit
from simmerge_hub.recipe.mergekit.reading import read
from simmerge_hub.recipe.mergekit.writing import write

__all__ = ["is_mergekit", "read", "write"]
