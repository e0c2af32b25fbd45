"""A recipe by file, by merged folder, or by the card of a merge on the Hub."""

import re
from collections.abc import Mapping
from pathlib import Path

from simmerge_hub.errors import RecipeError, SimmergeError
from simmerge_hub.hub.files.cached import read_text
from simmerge_hub.hub.reference import ModelRef, home_path, resolve_files
from simmerge_hub.recipe import mergekit
from simmerge_hub.recipe.calibration import list_prompt_files
from simmerge_hub.recipe.reading import parse
from simmerge_hub.recipe.recipe import Recipe
from simmerge_hub.recipe.why import Why

FENCE = re.compile("`{3,}yaml")
RECIPE_FILE = "simmerge.yaml"
"""The recipe's name beside the weights it made."""


def load(reference: str | Path, *, to_run: bool = True) -> tuple[Recipe, Why | None]:
    """A recipe, and its `why`; None if it has none or the recipe was edited since.

    Args:
        reference: a YAML file (ours or mergekit's), a merged folder, or a repository whose card
            holds a recipe.
        to_run: whether it is more than looked at: what was fed a file of its author is refused.
    """
    path = home_path(reference)
    path = path / RECIPE_FILE if (path / RECIPE_FILE).is_file() else path
    if path.is_file():
        return _load_file(path)
    if path.suffix in (".yaml", ".yml"):
        raise RecipeError(
            f"there is no file {path}",
            hint="check its path; simmerge-hub plan MODEL MODEL -o plan.yaml writes one",
        )
    recipe, why = _load_published(str(reference))
    if to_run:
        _refuse_prompt_files(recipe, f"the card of {reference}")
    return recipe, why


def _load_published(reference: str) -> tuple[Recipe, Why | None]:
    """The recipe on a card, and its `why` in the file beside it, if that is of the same recipe."""
    location, files = resolve_files(ModelRef.parse(reference))
    texts = {
        name: read_text(location, files, name)
        for name in ("README.md", RECIPE_FILE)
        if name in files
    }
    recipe = _parse_published(_find_recipe(texts, reference), f"the card of {reference}")
    try:
        beside, why = parse(texts.get(RECIPE_FILE, ""), RECIPE_FILE)
    except SimmergeError:  # the card is what people see
        return recipe, None
    return recipe, why if beside == recipe else None


def _load_file(path: Path) -> tuple[Recipe, Why | None]:
    text = path.read_text(encoding="utf-8", errors="replace")
    if mergekit.is_mergekit(text):
        return mergekit.read(text, str(path)), None
    return parse(text, str(path), folder=path.parent)


def _find_recipe(texts: Mapping[str, str], reference: str) -> str:
    card = texts.get("README.md", "")
    _, heading, below = f"\n{card}".rpartition("\n## Redo it\n")
    recipe = _block(below.split("\n")) if heading else ""
    if recipe.startswith("simmerge:"):
        return recipe
    raise RecipeError(
        f"{reference} has no recipe on its card",
        hint="only what simmerge-hub merged has one; to merge models, plan first: simmerge-hub "
        "plan MODEL MODEL",
    )


def _block(lines: list[str]) -> str:
    """The first block of YAML; its fence is longer than any run of backticks in it."""
    opening = next((i for i, line in enumerate(lines) if FENCE.fullmatch(line)), len(lines))
    fence = lines[opening].removesuffix("yaml") if opening < len(lines) else ""
    rest = lines[opening + 1 :]
    return "".join(f"{line}\n" for line in rest[: rest.index(fence)]) if fence in rest else ""


def _parse_published(text: str, where: str) -> Recipe:
    recipe, _ = parse(text, where)
    for wanted in recipe.sources:
        if wanted.folder is not None:
            raise RecipeError(
                f"{where} asks for the folder {wanted.folder} of this machine",
                hint="copy the recipe into a file if that is what you want",
            )
    return recipe


def _refuse_prompt_files(recipe: Recipe, where: str) -> None:
    for name in list_prompt_files(recipe.calibration)[:1]:
        raise RecipeError(
            f"{where} asks for the prompts in {name}, a file of whoever merged it",
            hint="get that file, copy the recipe into a file beside it, and run that",
        )
