"""A recipe with `output: adapter`: LoRA adapters of one base merged into one adapter."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from time import perf_counter

import torch

from simmerge_hub import operators
from simmerge_hub.errors import AlignmentError, RecipeError
from simmerge_hub.hub.files.checksums import write_checksums
from simmerge_hub.hub.resolve import Checkpoint, Piece
from simmerge_hub.merger.activations.groups import Activations, Group, open_activations
from simmerge_hub.merger.layout import lay_out
from simmerge_hub.merger.report import (
    MergeReport,
    Page,
    identify,
    versions,
    write_texts,
)
from simmerge_hub.operators import Arm, Place
from simmerge_hub.progress import Progress
from simmerge_hub.recipe import Recipe, Step, pin
from simmerge_hub.signatures.probing.probe import ProbeSet
from simmerge_hub.weights.alignment.align import refuse_rejections
from simmerge_hub.weights.lora import (
    AdapterMerge,
    AdapterReport,
    Mix,
    adapter_folder,
    combination,
    left_out_tokens,
    merge_adapters,
    unfed_weights,
)

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
    page: Page | None,
    progress: Progress | None,
    prompts: Mapping[str, Sequence[ProbeSet]],
) -> MergeReport:
    """Run a recipe whose output is an adapter; the arguments are those of `merge`.

    `prompts` are each model's, where the operator looks at activations.

    Raises:
        RecipeError: it asks for what adapters do not have.
        CheckpointError, AlignmentError, OperatorError: the adapters cannot be merged so.
    """
    began = perf_counter()
    _check(recipe, checkpoints)
    merge = _match(recipe, checkpoints)
    exact = pin(recipe, checkpoints, merge.dtype)
    with ExitStack() as stack:
        known, mixes, modules = None, (), {}
        if recipe.sees_activations:
            opened = _open_mixes(recipe, checkpoints, merge, prompts)
            known, mixes, modules = stack.enter_context(opened)
        folder, written = stack.enter_context(
            adapter_folder(
                merge,
                output,
                overwrite=overwrite,
                durable=durable,
                metadata={"simmerge": exact.to_yaml(published=True)},
                progress=progress,
                mixes=mixes,
                identity=_identify(exact),
            )
        )
        report = MergeReport(
            recipe=exact,
            folder=output,
            checkpoints=checkpoints,
            tensors=2 * len(merge.modules) + len(merge.whole),
            size=written.size,
            seconds=perf_counter() - began,
            versions=versions(),
            notes=(
                *_whole_notes(merge),
                *_rank_notes(written),
                *left_out_tokens(merge.sources, written.tokenizer),
                *(_activation_notes(known, modules) if known else ()),
            ),
        )
        write_texts(report, folder, notes, page)
        digests = write_checksums(folder)
    return replace(report, digests=digests)


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


def _identify(recipe: Recipe) -> str:
    """What says that a run makes the same bytes: SVDs depend on the number of threads, too."""
    return identify(recipe, recipe.to_yaml(published=True), torch.get_num_threads())


def _match(recipe: Recipe, checkpoints: Mapping[str, Checkpoint]) -> AdapterMerge:
    """The merge of the recipe's one step, from the adapters' headers."""
    (step,) = recipe.steps
    chosen = Arm(operator=step.operator, parameters=step.parameters)
    if recipe.sees_activations:
        combine = unfed_weights(chosen, len(step.models))
    else:
        combine = combination(chosen, step.models, seed=recipe.seed)
    return merge_adapters(
        [checkpoints[name] for name in step.models],
        combine,
        rank=recipe.rank,
        dtype=recipe.dtype or None,
        base=checkpoints[recipe.base.name] if recipe.base else None,
    )


def _whole_notes(merge: AdapterMerge) -> tuple[str, ...]:
    """That tensors stored whole are a mean, where deltas are not."""
    total = sum(merge.weights or (1.0,))
    averaged = [tensor.name for tensor in merge.whole if tensor.weights is not None]
    if not averaged or math.isclose(total, 1.0, rel_tol=1e-6):
        return ()
    more = f" and {len(averaged) - 1} more" if averaged[1:] else ""
    return (
        f"{averaged[0]}{more}, which the adapters bring whole: a mean, while the weights of their "
        f"deltas sum to {total:g}; without `output: adapter` what each changes in it is added too",
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


@contextmanager
def _open_mixes(
    recipe: Recipe,
    checkpoints: Mapping[str, Checkpoint],
    merge: AdapterMerge,
    prompts: Mapping[str, Sequence[ProbeSet]],
) -> Iterator[tuple[Activations, Iterator[tuple[str, Mix]], Mapping[str, str]]]:
    """The models run by layers; of each module that is fed what mixes the columns of its deltas.

    Last, the modules' names by those of the tensors that the base has for them.
    """
    _refuse_whole(recipe.steps[0], merge)
    layout = lay_out(replace(recipe, output="model", rank=0), checkpoints, pins=False)
    refuse_rejections(layout.alignment)
    modules = _modules_by_tensor(merge, [layout.checkpoints[m.name] for m in recipe.models])
    with open_activations(layout, prompts, {}) as (known, layers):
        groups = chain.from_iterable(layers)
        yield known, _solve_modules(recipe.steps[0], modules, groups), modules


def _modules_by_tensor(merge: AdapterMerge, adapters: Iterable[Checkpoint]) -> dict[str, str]:
    """Tensor of the base -> the module that adapters change it by; they may be named otherwise."""
    targets = {name: target for each in adapters for name, target in each.targets.items()}
    names = {f"{module.name}.weight": module.name for module in merge.modules}
    return {
        piece.tensor: module
        for name, module in names.items()
        for piece in (targets[name].pieces if name in targets else (Piece(name),))
    }


def _solve_modules(
    step: Step, modules: Mapping[str, str], groups: Iterable[Group]
) -> Iterator[tuple[str, Mix]]:
    """The modules of each group that are fed enough, one solution for all of them."""
    operator = operators.find(step.operator)
    for group in groups:
        names = [name for name, fed in group.items() if fed and name in modules]
        if not names:
            continue
        seen = tuple(group[names[0]][model].matrices for model in step.models)
        place = Place(tensor=names[0], models=step.models, seen=seen)
        (mix,) = operators.measure(operator, (), step.parameters, place)
        if mix is not None:
            yield from ((modules[name], mix) for name in names)


def _refuse_whole(step: Step, merge: AdapterMerge) -> None:
    """A linear layer that is stored whole would have to be solved for whole."""
    for tensor in merge.whole:
        if tensor.weights is not None:
            raise AlignmentError(
                f"{' and '.join(step.models)} bring {tensor.name} whole, with different values, "
                f"and {step.operator} merges the deltas of adapters",
                hint="leave out `output:`: that gives a full model",
            )


def _activation_notes(known: Activations, modules: Mapping[str, str]) -> tuple[str, ...]:
    """What was decided about the modules that the adapters change."""
    unfed, scarce = ([n for n in names if n in modules] for names in (known.unfed, known.scarce))
    return replace(known, unfed=unfed, scarce=scarce).notes
