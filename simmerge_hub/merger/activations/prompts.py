"""The calibration prompts of a recipe, read and pinned."""

from dataclasses import replace

from simmerge_hub.errors import RecipeError
from simmerge_hub.recipe import Recipe
from simmerge_hub.recipe.calibration import Calibration, Prompts
from simmerge_hub.signatures.probing.probe import ProbeSet, probe_set


def read_prompts(recipe: Recipe) -> tuple[Recipe, dict[str, list[ProbeSet]]]:
    """The recipe with its calibration prompts pinned, and the prompts of each model.

    Raises:
        RecipeError: prompts are not those that the recipe was made with.
        ProbeError: there are none to be had.
    """
    stated = recipe.calibration
    if stated is None or not recipe.sees_activations:
        return recipe, {}
    sets = {name: [_read_set(name, each) for each in some] for name, some in stated.prompts.items()}
    pinned = {
        name: tuple(
            Prompts(source=_pin_source(each.source, known), digest=known.digest)
            for each, known in zip(some, sets[name], strict=True)
        )
        for name, some in stated.prompts.items()
    }
    calibration = Calibration(prompts=pinned, answers=stated.answers)
    return replace(recipe, calibration=calibration), sets


def _read_set(model: str, wanted: Prompts) -> ProbeSet:
    known = probe_set(model, wanted.source)
    if wanted.digest and known.digest != wanted.digest:
        raise RecipeError(
            f"the calibration prompts {wanted.source} of {model} are not those the recipe was made "
            f"with: digest {known.digest[:12]}, expected {wanted.digest[:12]}",
            hint="restore them, or leave out the digest to merge with the prompts as they are now",
        )
    return known


def _pin_source(stated: str, known: ProbeSet) -> str:
    """Where exactly the prompts are from; a file stays where the recipe says it is."""
    return known.source if "@" in known.source else stated
