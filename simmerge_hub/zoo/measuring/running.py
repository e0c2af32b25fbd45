"""Merges whose models run while they are merged: a layer is fed what the merge so far leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simmerge_hub.operators import Arm
from simmerge_hub.operators.regression.regmean import feeds_merge
from simmerge_hub.signatures.probing.feeding import FedLayer, feed, parameters_outside
from simmerge_hub.signatures.probing.layerwise import decoder_layers
from simmerge_hub.zoo.measuring.members import Feeding, Weights, merge_into

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What merges are made with, anew for every pair and arm.

    Args:
        scratch: a model of the base's shape, in any dtype: it becomes the merge.
        base: all weights of the base.
        runners: models of that shape in float32, one for each parent, for arms whose models run
            while they are merged.
    """

    scratch: PreTrainedModel
    base: Weights
    runners: Sequence[PreTrainedModel] = ()


def merges_as_it_runs(arm: Arm) -> bool:
    """Whether an arm's layers are fed what the merge itself leaves."""
    return feeds_merge(arm.parameters)


def merge_pair(
    bench: Bench, arm: Arm, parents: Mapping[str, Weights], feedings: Sequence[Feeding]
) -> PreTrainedModel:
    """`bench.scratch`, now holding the merge of `parents`; see `merge_into`.

    Args:
        bench: what it is made with.
        arm: how.
        parents: name -> its weights, or only those that differ from the base.
        feedings: what each parent is fed; () for arms that do not look at it.
    """
    if not merges_as_it_runs(arm):
        fed = [each.fed for each in feedings]
        return merge_into(bench.scratch, arm, bench.base, parents, fed)
    for runner, parent in zip(bench.runners, parents.values(), strict=True):
        _copy_weights(runner, {n: parent.get(n, weight) for n, weight in bench.base.items()})
    waiting, named = dict.fromkeys(bench.base), dict(bench.scratch.named_parameters())

    def merge(names: Iterable[str], fed: Sequence[FedLayer]) -> None:
        """What passed through the layer is merged, and the parents go on with the merge's layer."""
        here = [name for name in dict.fromkeys(names) if name in waiting]
        merge_into(bench.scratch, arm, bench.base, parents, fed, here)
        for runner in bench.runners:
            _copy_weights(runner, {name: named[name] for name in here})
        for name in here:
            del waiting[name]

    merge(parameters_outside(bench.scratch), ())
    layers = [{id(p) for p in layer.parameters()} for layer in decoder_layers(bench.scratch)]
    with ExitStack() as stack:
        passes = [
            stack.enter_context(feed(runner, each.sequences, again=True))
            for runner, each in zip(bench.runners, feedings, strict=True)
        ]
        for layer, fed in zip([*layers, set()], zip(*passes, strict=True), strict=True):
            merge([*fed[0], *(name for name, p in named.items() if id(p) in layer)], fed)
    merge(list(waiting), ())
    return bench.scratch


def _copy_weights(model: PreTrainedModel, weights: Weights) -> None:
    import torch

    into = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            into[name].copy_(weight)
