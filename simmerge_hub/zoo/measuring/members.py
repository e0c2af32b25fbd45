"""Models of a zoo in memory: a base once, and of every specialist only what it changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.operators import Arm, Place, as_rows, find, merge_tensors
from simmerge_hub.recipe.calibration import ANSWER_TOKENS
from simmerge_hub.signatures.probing.answers import Sequences, continue_greedily
from simmerge_hub.signatures.probing.feeding import FedLayer, feed_whole
from simmerge_hub.weights import adapters, stream
from simmerge_hub.zoo.manifest import Manifest, load_model
from simmerge_hub.zoo.real.codec import Codec

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Weights = Mapping[str, "Tensor"]
"""A tied weight is there once."""


def weights_of(model: PreTrainedModel) -> dict[str, Tensor]:
    """The model's weights by name, in its dtype."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def changes(manifest: Manifest, name: str, base: Weights) -> dict[str, Tensor]:
    """The tensors in which a specialist differs from its base, float32; an adapter's are folded.

    Args:
        manifest: the zoo.
        name: a kept specialist.
        base: the weights of its base, in any dtype that holds them exactly.
    """
    folder = manifest.path(name)
    if manifest.models[name].kind != "adapter":
        return {
            n: t.float() for n, t in _load_tensors(folder).items() if not t.equal(base[n].to(t))
        }
    checkpoint = resolve(str(folder))
    shapes = {n: tuple(weight.shape) for n, weight in base.items()}
    folds = adapters.folds(checkpoint, stream.read_whole(checkpoint), shapes)
    return {n: fold(as_rows(base[n]), 0).reshape(shapes[n]) for n, fold in folds.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """What a specialist is fed: the probes of its task, each with its own answer.

    `fed` is what its layers are fed then.
    """

    sequences: Sequences
    fed: FedLayer


def feed_own_probes(manifest: Manifest, name: str, codec: Codec) -> Feeding:
    """What a specialist's linear layers are fed by the probes of its task and its own answers."""
    model = load_model(manifest, name)
    lines = manifest.probes(manifest.models[name].spec["task"]).read_text().splitlines()
    prompts = [(*codec.start, *codec.encode(json.loads(line)["prompt"])) for line in lines]
    sequences = continue_greedily(model, prompts, ANSWER_TOKENS)
    return Feeding(sequences=sequences, fed=feed_whole(model, sequences))


def merge_into(
    scratch: PreTrainedModel,
    arm: Arm,
    base: Weights,
    parents: Mapping[str, Weights],
    fed: Sequence[FedLayer] = (),
    names: Iterable[str] | None = None,
) -> PreTrainedModel:
    """`scratch`, now holding the merge of `parents`: bfloat16 values in its own dtype.

    Args:
        scratch: a model of the base's shape.
        arm: how.
        base: all weights of the base.
        parents: name -> its weights, or only those that differ from the base. What neither changes
            stays as it is in the base: every operator leaves equal weights alone.
        fed: what each parent's layers are fed, for an arm that looks at it.
        names: the tensors to merge, all by default.

    Random numbers belong to the tensor and to the parent's name, with seed 0.
    """
    import torch

    sees, into = find(arm.operator).activations, dict(scratch.named_parameters())
    with torch.no_grad():
        for name in into if names is None else names:
            weight = into[name]
            if not any(name in parent for parent in parents.values()):
                weight.copy_(base[name])
                continue
            place = Place(
                tensor=name,
                models=tuple(parents),
                shape=tuple(weight.shape),
                seen=tuple(f[name].matrices for f in fed if name in f) if sees else None,
            )
            sides = [parent.get(name, base[name]) for parent in parents.values()]
            merged = merge_tensors(arm, base[name], sides, place)
            weight.copy_(merged.to(torch.bfloat16))
    return scratch


def _load_tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return {
        n: t for path in sorted(folder.glob("*.safetensors")) for n, t in load_file(path).items()
    }
