"""A recipe with `output: adapter`: LoRA adapters of one base merged into one adapter."""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter

from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger.report import MergeReport, Progress, versions
from simmerge_hub.operators import Arm
from simmerge_hub.recipe import RECIPE_FILE, Recipe, pin
from simmerge_hub.weights.lora import AdapterReport, adapter_folder, combination, merge_adapters

NOTABLE_RESIDUE = 1e-3
"""A share of the delta that a cut to a rank may leave out without a word."""


def write_merged_adapter(
    recipe: Recipe,
    checkpoints: Mapping[str, Checkpoint],
    output: Path,
    *,
    overwrite: bool,
    durable: bool,
    notes: str,
    page: Callable[[MergeReport], Mapping[str, str]] | None,
    progress: Progress | None,
) -> MergeReport:
    """Run a recipe whose output is an adapter; the arguments are those of `merge`.

    Raises:
        RecipeError: it asks for what adapters do not have.
        CheckpointError, AlignmentError, OperatorError: the adapters cannot be merged so.
    """
    began = perf_counter()
    _check(recipe, checkpoints)
    (step,) = recipe.steps
    chosen = Arm(operator=step.operator, parameters=step.parameters)
    merge = merge_adapters(
        [checkpoints[name] for name in step.models],
        combination(chosen, step.models, seed=recipe.seed),
        rank=recipe.rank,
        dtype=recipe.dtype or None,
    )
    exact = pin(recipe, checkpoints, merge.dtype)
    text = exact.to_yaml(published=True)
    with adapter_folder(
        merge,
        output,
        overwrite=overwrite,
        durable=durable,
        metadata={"simmerge": text},
        progress=progress,
    ) as (folder, written):
        report = MergeReport(
            recipe=exact,
            folder=output,
            checkpoints=checkpoints,
            tensors=2 * len(merge.modules) + len(merge.whole),
            size=written.size,
            seconds=perf_counter() - began,
            versions=versions(),
            notes=_rank_notes(written),
        )
        texts = {RECIPE_FILE: text + notes, **(page(report) if page else {})}
        for name, content in texts.items():
            (folder / name).write_text(f"{content.rstrip()}\n", encoding="utf-8")
    return report


def _check(recipe: Recipe, checkpoints: Mapping[str, Checkpoint]) -> None:
    for model in recipe.models:
        if checkpoints[model.name].kind != "adapter":
            raise RecipeError(
                f"{model.name} is a full model, and the recipe says `output: adapter`",
                hint="merge adapters only, or leave out `output:`",
            )
    if recipe.tokenizer not in ("auto", "base"):
        raise RecipeError(
            f"the recipe says `output: adapter` and `tokenizer: {recipe.tokenizer}`",
            hint="leave out `tokenizer:`: the first adapter's is copied",
        )


def _rank_notes(written: AdapterReport) -> tuple[str, ...]:
    """What a reader must know of the rank."""
    if written.residue < NOTABLE_RESIDUE:
        return ()
    name, worst = written.worst
    return (
        f"rank {written.rank} leaves out {written.residue:.1%} of the merged delta, at most "
        f"{worst:.1%} in {name}; a larger `rank:` leaves out less",
    )
