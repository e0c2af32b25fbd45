"""One merge, split over the nodes of a cluster: each writes its tensors to their final places.

The tensors are merged by the same function as on one machine, so the bytes are the same. Only the
process that was started keeps the journal: it holds what a node says it computed against what the
folder shows here, and notes each tensor once. What dies with its node is done again elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from blake3 import blake3
from torch import Tensor

from simmerge_hub.errors import OutputError, RecipeError
from simmerge_hub.merger.layout import Layout
from simmerge_hub.merger.preflight import memory_bytes
from simmerge_hub.merger.report import describe_computing
from simmerge_hub.merger.work.nodes import check_computing, check_nodes
from simmerge_hub.merger.work.tensors import Writing, measure_wholes, write_tensors
from simmerge_hub.operators.registry import is_own
from simmerge_hub.progress import Say
from simmerge_hub.recipe import Recipe
from simmerge_hub.units import spell_count
from simmerge_hub.weights.writing.shards import Shard, Write, open_begun_shards
from simmerge_hub.weights.writing.token import check_token, lay_token
from simmerge_hub.workers.here import Lost, Needs, Workers

PARTS = 32
"""Into how many parts a merge is cut, about: enough that no node waits long for the last one."""
SMALLEST_PART = 8 * 2**20
"""Bytes of the output that a part has, if there are as many: handing it out takes milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What a node needs to do any part of a merge.

    Args:
        layout: of the whole merge.
        shards: its files, which have been begun.
        folder: where they are.
        token: of this run, which lies there; "" before it is laid.
        measured: what steps measure over the whole model, as of `Writing`.
        computes_with: versions and kind of CPU, where the merge was laid out.
    """

    layout: Layout
    shards: Sequence[Shard]
    folder: Path
    token: str = ""
    measured: Sequence[Mapping[int, Any]] = ()
    computes_with: Mapping[str, str] = field(default_factory=describe_computing)


def check_split(recipe: Recipe) -> None:
    """Raise RecipeError where a merge is one piece of work, or nodes could not do it.

    It is one where models are run, each layer on what the merged ones before it give, and where an
    adapter is made, which is small. Nodes know only the operators that the package declares.
    """
    if recipe.output == "adapter":
        raise RecipeError(
            "an adapter is one small file, and merging it is not split over nodes",
            hint="merge it here: leave out --ray",
        )
    if recipe.sees_activations:
        raise RecipeError(
            "a merge that runs its models takes one layer after another, and is not split over "
            "nodes",
            hint="merge it on one machine, without --ray; or write steps that see no activations, "
            "such as ties or linear",
        )
    for name in recipe.operators:
        if is_own(name):
            raise RecipeError(
                f"the operator {name} is of your own, and the nodes of a cluster do not know it",
                hint="merge it on one machine, by the same file: leave out --ray",
            )


def write_split(
    split: Split,
    done: frozenset[str],
    finished: Callable[[str, str], None],
    workers: Workers,
    say: Say = lambda text: None,
) -> None:
    """Merge and write what is left to do, on all nodes.

    Args:
        split: what is merged; the token is laid here.
        done: tensors of an earlier run.
        finished: called with every tensor that is written, and the BLAKE3 of what was computed.
        workers: the nodes.
        say: told how the work is spread.

    Raises:
        OutputError: a node does not see the folder, or a part killed whoever tried it.
        RecipeError: a tensor does not fit the output's dtype.
    """
    parts = cut(split.shards, done)
    workers = replace(workers, needs=Needs(memory=memory_bytes(split.layout, 1)))
    with lay_token(split.folder) as token:
        nodes = check_nodes(workers, split.layout, split.folder, token)
        if split.layout.measures_model and parts:
            say("measuring the models as a whole, on one node")
            split = replace(split, measured=_only(workers.spread(measure_wholes, [split.layout])))
        say(f"{spell_count(len(parts), 'part')} for {spell_count(len(nodes), 'node')}")
        work = partial(write_part, replace(split, token=token))
        for _, result in workers.spread(work, parts):
            for name, computed in _refuse_lost(result).items():
                finished(name, computed)


def cut(shards: Sequence[Shard], done: frozenset[str]) -> list[tuple[str, ...]]:
    """The tensors that are left to do, in parts of about one size; each is of one file."""
    sizes = {n: end - start for shard in shards for n, start, end in shard.spans if n not in done}
    most = max(SMALLEST_PART, sum(sizes.values()) // PARTS)
    parts: list[tuple[str, ...]] = []
    for shard in shards:
        part, room = list[str](), most
        for name in (name for name in shard.starts if name in sizes):
            if part and sizes[name] > room:
                parts.append(tuple(part))
                part, room = [], most
            part.append(name)
            room -= sizes[name]
        parts += [tuple(part)] if part else []
    return parts


def write_part(split: Split, names: Sequence[str]) -> dict[str, str]:
    """Merge and write some tensors of one file: tensor -> BLAKE3 of the data that was computed.

    Raises:
        OutputError: this machine does not see the folder of the run.
        RequestError: it has joined the cluster since nodes were asked, with other versions or
            another kind of CPU.
    """
    check_computing("a node that has joined the cluster", describe_computing(), split.computes_with)
    wanted = set(names)
    shards = [shard for shard in split.shards if wanted & set(shard.starts)]
    hashes = {name: blake3() for name in names}
    with open_begun_shards(split.folder, shards) as write:
        check_token(split.folder, split.token)
        writing = Writing(
            layout=split.layout,
            done=frozenset(split.layout.entries) - wanted,
            write=_hash_rows(write, hashes),
            written={},
            finished=lambda name: None,
            evict=False,
            threads=1,
            measured=split.measured,
        )
        write_tensors(writing, {})
    return {name: state.hexdigest() for name, state in hashes.items()}


def _hash_rows(write: Write, hashes: Mapping[str, Any]) -> Write:
    """The same, and each tensor's rows, which come in order, go into its hash."""

    def write_and_hash(name: str, low: int, rows: Tensor) -> None:
        write(name, low, rows)
        if rows.numel():
            hashes[name].update(rows.contiguous().view(torch.uint8).numpy().data)

    return write_and_hash


def _only(results: Any) -> Any:
    """The one result that there is."""
    ((_, result),) = results
    return _refuse_lost(result)


def _refuse_lost(result: Any) -> Any:
    if isinstance(result, Lost):
        raise OutputError(
            f"a worker died, again and again: {result.reason}",
            hint="run it again to go on where it was; give the nodes more memory",
        )
    return result
