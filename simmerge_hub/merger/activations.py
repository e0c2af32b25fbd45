"""What the layers of a recipe's models are fed, one decoder layer of every model at a time.

Every model is run by layers on its own calibration prompts. Nothing of a layer is kept when the
next begins, so memory does not grow with the models' depth; what a stopped merge had finished is
not merged again, but the models run again from their first layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger.layout import Layout
from simmerge_hub.operators.regression import LEAST_TOKENS
from simmerge_hub.recipe import Recipe
from simmerge_hub.recipe.calibration import Calibration, Prompts
from simmerge_hub.signatures.probing.answers import Sequences, read_answers
from simmerge_hub.signatures.probing.feeding import Fed, FedLayer, feed
from simmerge_hub.signatures.probing.loading import open_model
from simmerge_hub.signatures.probing.offload import Origin, find_origins
from simmerge_hub.signatures.probing.probe import ProbeSet, probe_set

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KEEPING_COLUMNS = ("MergeModulelist", "Concatenate", "Chunk", "Split", "SplitModulelist")
"""What transformers may do with stored tensors on loading that leaves their columns columns."""

PLACES_NAMED = 4
"""Places in a model that a note names."""

Group = Mapping[str, Mapping[str, Fed]]
"""Output tensors whose layers share their inputs -> model -> what the layer was fed."""


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


@dataclass(slots=True, eq=False)
class Activations:
    """What was seen so far of a merge's activations.

    Args:
        tokens: model -> tokens it was fed.
        digest: sha256 of all token ids, answers included: models that answer otherwise on another
            machine give another merge.
        unfed: tensors with rows and columns that no prompt passes through.
        scarce: tensors of which a matrix was fed too few tokens.
    """

    tokens: dict[str, int]
    digest: str
    unfed: list[str]
    scarce: list[str]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided by rule, in sentences."""
        fed = ", ".join(f"{name} {count:,}" for name, count in self.tokens.items())
        lines = [
            f"tokens fed, each model's own answers included: {fed} (sha256 {self.digest[:16]}); "
            "another machine may answer or round otherwise, and then merges to other bytes"
        ]
        if self.unfed:
            lines.append(
                f"{_count(self.unfed)} passed by no prompt, or no linear layer: merged as other "
                f"tensors are: {_some(self.unfed)}"
            )
        if self.scarce:
            lines.append(
                f"{_count(self.scarce)} with fewer than {LEAST_TOKENS} tokens from some model in a "
                f"layer or expert, which is merged as other tensors are: {_some(self.scarce)}"
            )
        return tuple(lines)


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} tensor{'s' * (len(names) != 1)}"


def _some(names: Sequence[str]) -> str:
    """The tensors, or the lists of layers or experts that they are in, the first few of them."""
    places = list(dict.fromkeys(re.sub(r"\.\d+\..*", "", name) for name in names))
    return ", ".join(places[:PLACES_NAMED]) + (", …" if len(places) > PLACES_NAMED else "")


@contextmanager
def open_activations(
    layout: Layout, prompts: Mapping[str, Sequence[ProbeSet]]
) -> Iterator[tuple[Activations, Iterator[list[Group]]]]:
    """Run all models of a layout side by side, layer by layer.

    Args:
        layout: of a recipe with operators that see activations.
        prompts: of each model.

    Yields:
        What is known of the whole, complete once all layers have passed; and for each decoder
        layer the groups of output tensors in it.
    """
    models = [m.name for m in layout.recipe.models if m.name in prompts]
    calibration = layout.recipe.calibration
    assert calibration is not None
    sequences = {
        name: _read_sequences(layout, name, prompts[name], calibration.answers) for name in models
    }
    known = Activations(
        tokens={name: sum(map(len, some)) for name, some in sequences.items()},
        digest=sha256(repr(sequences).encode()).hexdigest(),
        unfed=[],
        scarce=[],
    )
    with ExitStack() as stack:
        passes = {}
        for name in models:
            checkpoint = layout.checkpoints[name]
            model = stack.enter_context(open_model(checkpoint, layout.base, offload=True))
            stored = (layout.base if checkpoint.kind == "adapter" else checkpoint) or checkpoint
            layers = stack.enter_context(feed(model, sequences[name]))
            passes[name] = _by_stored_tensor(model, stored, layers)
        yield known, _group_layers(layout, passes, known)


def _read_sequences(
    layout: Layout, name: str, prompts: Sequence[ProbeSet], answers: int
) -> Sequences:
    texts = list(dict.fromkeys(text for each in prompts for text in each.prompts))
    return read_answers(layout.checkpoints[name], layout.base, texts, answers=answers)


def _by_stored_tensor(
    model: PreTrainedModel, checkpoint: Checkpoint, layers: Iterator[FedLayer]
) -> Iterator[FedLayer]:
    """The same by the names of the checkpoint's own tensors."""
    origins = find_origins(model, checkpoint.tensors)
    embedding = {name for name, _ in _embedding_origin(model, origins)}
    for layer in layers:
        stored: dict[str, Fed] = {}
        for parameter, fed in layer.items():
            stored |= _trace(origins[parameter], fed, checkpoint) if parameter in origins else {}
        yield {name: fed for name, fed in stored.items() if name not in embedding}


def _embedding_origin(
    model: PreTrainedModel, origins: Mapping[str, Origin]
) -> Sequence[tuple[str, str]]:
    """What the input embedding is stored as; a head that shares it is merged with it."""
    module = model.get_input_embeddings()
    name = next((n for n, each in model.named_modules() if each is module), "")
    origin = origins.get(f"{name}.weight")
    return origin.stored if origin else ()


def _trace(origin: Origin, fed: Fed, checkpoint: Checkpoint) -> dict[str, Fed]:
    """Stored tensors of one parameter -> what each was fed; none where columns are mixed."""
    if origin.converter is None:
        name = origin.stored[0][0]
        return {name: fed} if _fits(fed, checkpoint.tensors[name].shape) else {}
    if any(type(op).__name__ not in KEEPING_COLUMNS for op in origin.converter.operations):
        return {}
    by_pattern: dict[str, list[str]] = {}
    for name, pattern in origin.stored:
        by_pattern.setdefault(pattern, []).append(name)
    traced = {}
    for names in by_pattern.values():
        whole = len(names) == 1
        if not whole and len(names) != len(fed.matrices):
            return {}
        for number, name in enumerate(names):
            part = fed if whole else Fed(matrices=(fed.matrices[number],))
            if _fits(part, checkpoint.tensors[name].shape):
                traced[name] = part
    return traced


def _fits(fed: Fed, shape: Sequence[int]) -> bool:
    """Whether a stored tensor of this shape has a column for each number it was fed."""
    if len(shape) not in (2, 3) or len(fed.matrices) != (shape[0] if len(shape) == 3 else 1):
        return False
    width = shape[0] if fed.transposed else shape[-1]
    return all(each.width in (width, None) for each in fed.matrices)


def _group_layers(
    layout: Layout, passes: Mapping[str, Iterator[FedLayer]], known: Activations
) -> Iterator[list[Group]]:
    seen: set[str] = set()
    for layers in zip(*passes.values(), strict=True):
        fed = dict(zip(passes, layers, strict=True))
        groups: dict[tuple[int, ...], dict[str, Mapping[str, Fed]]] = {}
        for name in _tensors_fed(layout, fed):
            origins = layout.tensors[name].origins
            mine = {model: fed[model][origins[model]] for model in fed}
            key = tuple(id(matrix) for each in mine.values() for matrix in each.matrices)
            groups.setdefault(key, {})[name] = mine
            seen.add(name)
            if any(m.tokens < LEAST_TOKENS for each in mine.values() for m in each.matrices):
                known.scarce.append(name)
        yield list(groups.values())
    known.unfed += [
        name
        for name, match in layout.tensors.items()
        if name not in seen and not match.copied and len(match.shape) > 1
    ]


def _tensors_fed(layout: Layout, fed: Mapping[str, FedLayer]) -> list[str]:
    """The output tensors that every model has fed something in this layer, and that are merged."""
    first, *_ = fed
    outputs: dict[str, list[str]] = {}
    for name, match in layout.tensors.items():
        if not match.copied and first in match.origins:
            outputs.setdefault(match.origins[first], []).append(name)
    names = [name for stored in fed[first] for name in outputs.get(stored, ())]
    return [
        name
        for name in names
        if all(layout.tensors[name].origins.get(model) in layer for model, layer in fed.items())
        and not _has_other_words(layout, name)
    ]


def _has_other_words(layout: Layout, name: str) -> bool:
    """Whether a tensor's rows are of tokens that are put in another order first."""
    return layout.vocabulary is not None and name in layout.vocabulary.tensors
