"""A merged adapter as a folder that PEFT loads; it appears complete or not at all."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from math import hypot
from pathlib import Path
from shutil import copyfile
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor

from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.files.location import is_owned_name
from simmerge_hub.hub.weight_files import CONFIGS, WEIGHTS
from simmerge_hub.progress import Progress
from simmerge_hub.weights.adapters import PREFIX
from simmerge_hub.weights.adapters.kinds import is_listed
from simmerge_hub.weights.lora.merge import AdapterMerge, Mix, Module, compute_factors
from simmerge_hub.weights.lora.norms import NormLog, open_norms
from simmerge_hub.weights.lora.whole import HELD_ENTRIES, Whole, whole_rows
from simmerge_hub.weights.shapes import OUTPUT_CODES, row_blocks
from simmerge_hub.weights.writing.partial import Partial, partial_folder
from simmerge_hub.weights.writing.shards import (
    Entry,
    Shard,
    Write,
    clear_beside,
    open_shards,
    plan_shards,
    written_digests,
)

TARGET_FILTERS = ("layers_to_transform", "layers_pattern", "exclude_modules")
"""Settings of PEFT that narrow `target_modules` down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterReport:
    """What was written.

    `residues` is, for each module, the part of its delta that its rank leaves out: a Frobenius norm
    relative to that of the whole delta. `residue` is the same over all modules together. `size` is
    bytes of tensor data; `tokenizer` the name of the adapter whose tokenizer was copied.
    """

    folder: Path
    rank: int
    dtype: str
    size: int
    residue: float
    residues: Mapping[str, float] = field(repr=False)
    tokenizer: str | None

    @property
    def worst(self) -> tuple[str, float]:
        """The module of which most is left out, and how much."""
        return max(self.residues.items(), key=lambda item: item[1])


def write_adapter(
    merge: AdapterMerge,
    output: str | Path,
    *,
    overwrite: bool = False,
    durable: bool = True,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> AdapterReport:
    """Run a merge of adapters.

    Every run starts anew: what a function makes of deltas has no name to continue it by. The same
    merge gives the same bytes; where a rank is cut, on the same machine with as many torch threads.

    Args:
        merge: as `merge_adapters` gave it.
        output: the folder to make.
        overwrite: replace an existing folder, at the end; whose it is, is the caller's to know.
        durable: flush to the disk before the folder appears.
        metadata: more for the safetensors header.
        progress: called with (module, modules done, modules in all).

    Raises:
        CheckpointError: an adapter has NaN or Inf.
        RecipeError: the result does not fit the dtype.
        OutputError: `output` exists, or the disk is too full.
    """
    with adapter_folder(
        merge,
        Path(output),
        overwrite=overwrite,
        durable=durable,
        metadata=metadata or {},
        progress=progress,
    ) as (_, report):
        return report


@contextmanager
def adapter_folder(
    merge: AdapterMerge,
    output: Path,
    *,
    overwrite: bool,
    durable: bool,
    metadata: Mapping[str, str],
    progress: Progress | None,
    mixes: Iterable[tuple[str, Mix]] = (),
    identity: str = "",
) -> Iterator[tuple[Path, AdapterReport]]:
    """The written adapter in a folder that becomes `output` when the block ends, and only then.

    The arguments and errors are those of `write_adapter`; `mixes` are of modules that are no
    weighted sums, each asked for when those before it are written. A run that was cut off is
    continued by one of the same `identity`; without one every run starts anew. Yields the folder,
    to put more files into, and what was written.
    """
    shard = _shard(merge, metadata)
    with partial_folder(
        output,
        identity=identity or uuid4().hex,
        size=shard.size,
        digest=written_digests([shard]),
        overwrite=overwrite,
        durable=durable,
    ) as partial:
        clear_beside(partial.folder, [shard])
        with open_norms(partial) as log:
            _write_tensors(merge, partial, shard, mixes, progress, log)
        report = AdapterReport(
            folder=output,
            rank=merge.rank,
            dtype=merge.dtype,
            size=shard.size - len(shard.header),
            residue=_share(*(hypot(*each) for each in zip(*log.norms.values(), strict=True))),
            residues={name: _share(*each) for name, each in log.norms.items()},
            tokenizer=_copy_tokenizer(merge, partial.folder),
        )
        text = json.dumps(adapter_config(merge), indent=2) + "\n"
        (partial.folder / CONFIGS["adapter"]).write_text(text, encoding="utf-8")
        yield partial.folder, report


def adapter_config(merge: AdapterMerge) -> dict[str, Any]:
    """adapter_config.json: scalings are one, so the deltas are B·A as stored."""
    ranks = {
        f"^{re.escape(module.name)}": module.rank
        for module in merge.modules
        if module.rank != merge.rank
    }
    configs = [one.checkpoint.config for one in merge.sources]
    trained = sorted({name for each in configs for name in each.get("modules_to_save") or ()})
    base = _public(merge.base)
    return {
        "peft_type": "LORA",
        "task_type": merge.task,
        "base_model_name_or_path": base,
        **({"revision": merge.revision} if base and merge.revision else {}),
        "inference_mode": True,
        "r": merge.rank,
        "lora_alpha": merge.rank,
        "use_rslora": False,
        "use_dora": False,
        "rank_pattern": ranks,
        "alpha_pattern": ranks,
        "target_modules": _target_modules(merge),
        "modules_to_save": trained or None,
        "bias": "none",
        "fan_in_fan_out": any(each.turned and not each.embedding for each in merge.modules),
        "lora_dropout": 0.0,
        "init_lora_weights": True,
    }


def _public(base: str | None) -> str | None:
    """The base if it is a repository's name; where a folder lies here is nobody's business."""
    if base is None or not is_owned_name(base) or Path(base).exists():
        return None
    return base


def _target_modules(merge: AdapterMerge) -> list[str]:
    """The adapters' own lists together; all modules by name where those would say too much."""
    configs = [one.checkpoint.config for one in merge.sources]
    stated = [each.get("target_modules") for each in configs]
    names = [module.name for module in merge.modules]
    plain = all(isinstance(each, list) for each in stated)
    if plain and not any(each.get(key) for each in configs for key in TARGET_FILTERS):
        union = {target for each in stated for target in each or ()}
        if all(is_listed(name, union) for name in names):
            return sorted(union)
    return sorted(names)


def _shard(merge: AdapterMerge, metadata: Mapping[str, str]) -> Shard:
    code = OUTPUT_CODES[merge.dtype]
    entries: dict[str, Entry] = {t.name: (OUTPUT_CODES[t.dtype], t.shape) for t in merge.whole}
    for module in merge.modules:
        a, b = _stored_names(module)
        out, into = module.shape
        entries |= {a: (code, (module.rank, into)), b: (code, (out, module.rank))}
    (shard,) = plan_shards(entries, 2**63, {"format": "pt", **metadata})
    return replace(shard, file=WEIGHTS["adapter"])


def _stored_names(module: Module) -> tuple[str, str]:
    """What PEFT calls A and B."""
    kind, end = ("lora_embedding_", "") if module.embedding else ("lora_", ".weight")
    return f"{PREFIX}{module.name}.{kind}A{end}", f"{PREFIX}{module.name}.{kind}B{end}"


def _write_tensors(
    merge: AdapterMerge,
    partial: Partial,
    shard: Shard,
    mixes: Iterable[tuple[str, Mix]],
    progress: Progress | None,
    log: NormLog,
) -> None:
    """Write the weights that an earlier run did not finish."""
    left = {module.name: module for module in merge.modules}
    written = 0
    with open_shards(partial.folder, [shard]) as write:
        for tensor in merge.whole:
            if tensor.name not in partial.done:
                _write_whole(merge, tensor, write)
                partial.finish(tensor.name)
        for name, mix in chain(mixes, ((module.name, None) for module in merge.modules)):
            module = left.pop(name, None)
            if module is None:
                continue  # written with its mix
            if name not in log.norms or not partial.done.issuperset(_stored_names(module)):
                log.keep(name, _write_module(merge, module, mix, write))
                for each in _stored_names(module):
                    partial.finish(each)
            written += 1
            if progress:
                progress(name, written, len(merge.modules))


def _write_module(
    merge: AdapterMerge, module: Module, mix: Mix | None, write: Write
) -> tuple[float, float]:
    """Write A and B; the norms of what they leave out and of the whole delta."""
    try:
        factors = compute_factors(merge, module, mix)
    except OverflowError as error:
        raise _overflow_error(module.name, "float32") from error
    for name, tensor in zip(_stored_names(module), (factors.a, factors.b), strict=True):
        write(name, 0, _round(tensor, name, merge.dtype))
    return factors.residue, factors.norm


def _write_whole(merge: AdapterMerge, tensor: Whole, write: Write) -> None:
    for low, high in row_blocks(tensor.shape, HELD_ENTRIES):
        rows = whole_rows(merge.sources, tensor, low, high)
        write(tensor.name, low, _round(rows, tensor.name, tensor.dtype))


def _round(rows: Tensor, name: str, dtype: str) -> Tensor:
    rounded = rows.to(getattr(torch, dtype))
    if not torch.isfinite(rounded).all():
        raise _overflow_error(name, dtype)
    return rounded


def _overflow_error(name: str, dtype: str) -> RecipeError:
    return RecipeError(
        f"merging {name} overflows {dtype}",
        hint="use smaller weights or a smaller scale, or write a wider dtype",
    )


def _copy_tokenizer(merge: AdapterMerge, folder: Path) -> str | None:
    """The files of the first adapter that has a tokenizer; its name."""
    for one in merge.sources:
        names: Sequence[str] = one.checkpoint.tokenizer_files
        for name in names:
            copyfile(local_file(one.checkpoint.location, name), folder / name)
        if names:
            return one.name
    return None


def _share(part: float, whole: float) -> float:
    """part / whole; a zero delta leaves nothing out."""
    return part / whole if whole else 0.0
