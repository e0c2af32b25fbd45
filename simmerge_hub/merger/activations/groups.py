"""What the layers of a recipe's models are fed, one decoder layer of every model at a time.

Every model is run by layers on its own calibration prompts. Nothing of a layer is kept when the
next begins, so memory does not grow with the models' depth; what a stopped merge had finished is
not merged again, but the models run again from their first layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger.activations.traces import (
    let_stand_in,
    refresh,
    stored_buffers,
    stored_by_layer,
    trace_layers,
)
from simmerge_hub.merger.layout import Layout
from simmerge_hub.names import list_first
from simmerge_hub.operators.regression.regmean import LEAST_TOKENS
from simmerge_hub.signatures.probing.answers import Sequences, read_answers
from simmerge_hub.signatures.probing.feeding import Fed, FedLayer, feed
from simmerge_hub.signatures.probing.loading import open_model
from simmerge_hub.signatures.probing.probe import ProbeSet, look_alike
from simmerge_hub.units import spell_count
from simmerge_hub.weights.stream import Rows, open_tensors

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

PLACES_NAMED = 4
"""Places in a model that a note names."""

Group = Mapping[str, Mapping[str, Fed]]
"""Output tensors whose layers share their inputs -> model -> what the layer was fed."""


@dataclass(slots=True, eq=False)
class Activations:
    """What was seen so far of a merge's activations.

    Args:
        tokens: model -> tokens it was fed.
        digest: sha256 of all token ids, answers included: models that answer otherwise on another
            machine give another merge.
        unfed: tensors with rows and columns that no prompt passes through.
        scarce: tensors of which a matrix was fed too few tokens.
        alike: pairs of models whose prompts look alike.
        own_words: every model was fed through its own embedding, though the rest was the merge's.
    """

    tokens: dict[str, int]
    digest: str
    unfed: list[str]
    scarce: list[str]
    alike: list[tuple[str, str]]
    own_words: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided by rule, in sentences."""
        fed = ", ".join(f"{name} {count:,}" for name, count in self.tokens.items())
        lines = [
            f"tokens fed, each model's own answers included: {fed} (sha256 {self.digest[:16]}); "
            "another machine may answer or round otherwise, and then merges to other bytes"
        ]
        lines += [
            f"the prompts of {one} and {other} look alike: where they are the same the merge "
            "cannot tell the tasks apart, and gives one kind of answer to both"
            for one, other in self.alike
        ]
        if self.own_words:
            lines.append(
                "the models' vocabularies differ, so each was fed through its own embedding, and "
                "not through the merge's"
            )
        if self.unfed:
            lines.append(
                f"{spell_count(len(self.unfed), 'tensor')} passed by no prompt, or no linear "
                f"layer: merged as other tensors are: {_some(self.unfed)}"
            )
        if self.scarce:
            lines.append(
                f"{spell_count(len(self.scarce), 'tensor')} with fewer than {LEAST_TOKENS} tokens "
                "from some model in a layer or expert, which is merged as other tensors are: "
                f"{_some(self.scarce)}"
            )
        return tuple(lines)


def _some(names: Sequence[str]) -> str:
    """The tensors, or the lists of layers or experts that they are in, the first few of them."""
    places = list(dict.fromkeys(re.sub(r"\.\d+\..*", "", name) for name in names))
    return list_first(places, PLACES_NAMED)


@contextmanager
def open_activations(
    layout: Layout, prompts: Mapping[str, Sequence[ProbeSet]], written: Mapping[str, Rows]
) -> Iterator[tuple[Activations, Iterator[list[Group]]]]:
    """Run all models of a layout side by side, layer by layer.

    Args:
        layout: of a recipe with operators that see activations.
        prompts: of each model.
        written: the output's tensors, each read only after its group was given and merged.

    Yields:
        What is known of the whole, complete once all layers have passed; and what is outside of
        the decoder layers, then for each layer the groups of output tensors in it that are fed
        alike, and all that it has besides.
    """
    models = [m.name for m in layout.recipe.models if m.name in prompts]
    calibration = layout.recipe.calibration
    assert calibration is not None
    sequences = {
        name: _read_sequences(layout, name, prompts[name], calibration.answers) for name in models
    }
    again = layout.recipe.feeds_merge
    known = Activations(
        tokens={name: sum(map(len, some)) for name, some in sequences.items()},
        digest=sha256(repr(sequences).encode()).hexdigest(),
        unfed=[],
        scarce=[],
        alike=look_alike({name: prompts[name] for name in models}),
        own_words=again and bool(layout.vocabulary and layout.vocabulary.tensors),
    )
    with ExitStack() as stack:
        runs = []
        for name in models:
            merged: dict[str, Rows] = {}
            checkpoint = layout.checkpoints[name]
            stored = (layout.base if checkpoint.kind == "adapter" else checkpoint) or checkpoint
            own = stack.enter_context(open_tensors(checkpoint, layout.base))
            rows = let_stand_in(own, merged)
            model = stack.enter_context(
                open_model(checkpoint, layout.base, offload=True, rows=rows)
            )
            fed = stack.enter_context(feed(model, sequences[name], again=again))
            layers = trace_layers(model, stored, fed)
            run = _Run(
                name=name,
                model=model,
                stored=stored,
                layers=layers,
                merged=merged,
                buffers=stored_buffers(model, stored) if again else {},
            )
            runs.append(run)
        passes = _Passes(layout=layout, runs=runs, known=known)
        yield known, passes.run(written if again else None)


def _read_sequences(
    layout: Layout, name: str, prompts: Sequence[ProbeSet], answers: int
) -> Sequences:
    texts = list(dict.fromkeys(text for each in prompts for text in each.prompts))
    return read_answers(layout.checkpoints[name], layout.base, texts, answers=answers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """A model that runs by layers, and the tensors of its own that the merge's stand for by now."""

    name: str
    model: PreTrainedModel
    stored: Checkpoint
    layers: Iterator[FedLayer]
    merged: dict[str, Rows]
    buffers: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Passes:
    """The models of a layout on their way through their layers, side by side."""

    layout: Layout
    runs: Sequence[_Run]
    known: Activations

    def run(self, written: Mapping[str, Rows] | None) -> Iterator[list[Group]]:
        """What is outside the layers, then layer by layer; what no group has was fed nothing.

        Every model is fed what its own layers leave; or, with `written`, what the merge's layers
        leave: each of them stands for the models' own once it is merged.
        """
        first, seen = self.runs[0], set[str]()
        outputs = self._outputs(first.name)
        outside, *inside = (
            [name for stored in some for name in outputs.get(stored, ())]
            for some in stored_by_layer(first.model, first.stored)
        )
        yield [{name: {}} for name in outside]
        self._stand_in(outside, written)
        for groups, rest in zip_longest(self._groups(), inside, fillvalue=()):
            fed = list(chain(*groups))
            others = [name for name in rest if name not in fed]
            yield [*groups, *({name: {}} for name in others)]
            self._stand_in([*fed, *others], written)
            seen.update(fed)
        self._name_unfed(seen)

    def _groups(self) -> Iterator[list[Group]]:
        names = [run.name for run in self.runs]
        for layers in zip(*(run.layers for run in self.runs), strict=True):
            yield self._group(dict(zip(names, layers, strict=True)))

    def _group(self, fed: Mapping[str, FedLayer]) -> list[Group]:
        """By what they are fed."""
        groups: dict[tuple[int, ...], dict[str, Mapping[str, Fed]]] = {}
        for name in self._tensors_fed(fed):
            origins = self.layout.tensors[name].origins
            mine = {model: fed[model][origins[model]] for model in fed}
            matrices = [matrix for each in mine.values() for matrix in each.matrices]
            groups.setdefault(tuple(map(id, matrices)), {})[name] = mine
            if any(matrix.tokens < LEAST_TOKENS for matrix in matrices):
                self.known.scarce.append(name)
        return list(groups.values())

    def _tensors_fed(self, fed: Mapping[str, FedLayer]) -> list[str]:
        """The output tensors that every model has fed something, and that are merged."""
        first, *_ = fed
        outputs, tensors = self._outputs(first), self.layout.tensors
        names = [name for stored in fed[first] for name in outputs.get(stored, ())]
        return [
            name
            for name in names
            if not tensors[name].copied
            and all(tensors[name].origins.get(model) in layer for model, layer in fed.items())
            and not self._has_other_words(name)
        ]

    def _outputs(self, model: str) -> dict[str, list[str]]:
        """Stored tensor of a model -> the tensors of the output that it goes into."""
        outputs: dict[str, list[str]] = {}
        for name, match in self.layout.tensors.items():
            if model in match.origins:
                outputs.setdefault(match.origins[model], []).append(name)
        return outputs

    def _has_other_words(self, name: str) -> bool:
        """Whether a tensor's rows are of tokens that are put in another order first."""
        words = self.layout.vocabulary
        return words is not None and name in words.tensors

    def _stand_in(self, names: Iterable[str], written: Mapping[str, Rows] | None) -> None:
        """These tensors of the output are read in the place of the models' own from now on.

        A head does not stand for the embedding that a model ties it to.
        """
        if written is None:
            return
        for name in names:
            match = self.layout.tensors[name]
            for run in self.runs:
                if match.origins.get(run.name) == name and not self._has_other_words(name):
                    run.merged[name] = written[name]
                    if name in run.buffers:
                        refresh(run.buffers[name], written[name])

    def _name_unfed(self, seen: set[str]) -> None:
        self.known.unfed += [
            name
            for name, match in self.layout.tensors.items()
            if name not in seen and not match.copied and len(match.shape) > 1
        ]
