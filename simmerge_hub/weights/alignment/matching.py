"""The rules by which tensors of several checkpoints match, one by one. Headers only.

The reference is the base, or else the first model. The rules, in order:

- A head that one model has and another ties to its embedding: the embedding stands in for it.
- Buffers that transformers computes anew (rotary frequencies, position ids, masks) are never a
  reason to refuse: the reference's are copied, others' are left out.
- Any other tensor that not all have is refused, or with `unmatched` "drop" or "keep" copied from
  the reference if it has it, and otherwise left out ("drop") or copied from the first model that
  has it ("keep").
- Configs that give equal shapes another meaning (the number of heads) are refused.
- A tensor with another shape is refused, unless only its number of vocabulary rows differs and the
  vocabularies are known.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights import adapters
from simmerge_hub.weights.alignment.heads import Heads, Shape
from simmerge_hub.weights.alignment.meaning import (
    conflicts,
    differences,
    input_differences,
    label_conflicts,
)
from simmerge_hub.weights.layers import Placement, depths, layer_of, main_stack, place_slices
from simmerge_hub.weights.loaded.names import RECOMPUTED
from simmerge_hub.weights.tokens.embeddings import resize

Span = Mapping[str, tuple[int, int]]
"""Model name -> layers [first, last) of one slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A tensor of one model that cannot be merged, and the reason; `missing`: not all have it."""

    name: str
    model: str
    reason: str
    missing: bool = field(default=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorMatch:
    """One tensor of the output.

    `origins` says what it is called in each model that has a part in it; `copied` names the model
    it is copied from where not all have it, or is "". `depth` is that of its layer, 0 to 1, in
    slice number `slice`. `donors` says what a vocabulary tensor is called in models that have no
    part in it, whose rows stand in for tokens that the others lack.
    """

    shape: Shape
    origins: Mapping[str, str]
    slice: int = 0
    depth: float = 0.0
    copied: str = ""
    donors: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Matcher:
    """One alignment in the making."""

    sources: Mapping[str, Checkpoint]
    shapes: Mapping[str, Mapping[str, Shape]]
    reference: str
    heads: Heads
    unmatched: str
    resized: frozenset[str]
    rows: int
    rejected: list[Rejection] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    untied: bool = False

    def compare_configs(self) -> None:
        """Reject models whose config gives the same weights another meaning; note what differs."""
        reference = self.sources[self.reference]
        for name, model in self.sources.items():
            if model.kind == "adapter":
                self.notes += adapters.other_base(model, reference)
                self.notes += adapters.other_revision(model, reference)
                self.notes += adapters.ignored_settings(model)
                self.notes += adapters.unaimed_modules(model)
            elif model is not reference:
                self.rejected += [
                    Rejection(name="config.json", model=name, reason=reason)
                    for reason in conflicts(reference, model)
                ]
                self.notes += [*differences(reference, model), *input_differences(reference, model)]
        full = {name: m for name, m in self.sources.items() if m.kind == "full"}
        for name, reason in label_conflicts(full):
            self.rejected.append(Rejection(name="config.json", model=name, reason=reason))

    def place(self, spans: Sequence[Span]) -> dict[str, Placement]:
        """Every tensor the output should have."""
        if spans:
            self._reject_mixed_heads(spans)
            configs = {name: model.config for name, model in self.sources.items()}
            self._note_extra_layers(configs)
            return place_slices(self.shapes, spans, configs)
        names = list(self.shapes[self.reference])
        heads = [n for m in self.sources for n in self.shapes[m] if self.heads.is_new(m, n)]
        self.untied = bool(heads) or any(map(self.heads.parts_a_tie, self.sources))
        deep = depths(self.shapes[self.reference], self.sources[self.reference].config)
        return {
            name: Placement(
                slice=0, depth=deep.get(name, 0.0), origins=dict.fromkeys(self.sources, name)
            )
            for name in dict.fromkeys([*names, *heads])
        }

    def _note_extra_layers(self, configs: Mapping[str, Mapping[str, Any]]) -> None:
        """Stored layers that a config does not count are not in any slice."""
        for name, own in self.shapes.items():
            _, counted = main_stack(own, configs[name])
            _, stored = main_stack(own)
            if counted < stored:
                self.notes.append(
                    f"{name} stores {stored} layers and counts {counted}: what predicts further "
                    "tokens is left out"
                )

    def _reject_mixed_heads(self, spans: Sequence[Span]) -> None:
        """In slices embedding and head come from different models, which must agree on tying."""
        for model, reason in self.heads.conflicts([*spans[0], *spans[-1]]):
            self.rejected.append(Rejection(name="config.json", model=model, reason=reason))

    def match(self, name: str, placed: Placement) -> TensorMatch | None:
        """The tensor with its name in each model; None (and a reason) if it cannot be merged."""
        leader = self.reference if self.reference in placed.origins else next(iter(placed.origins))
        origins: dict[str, str] = {}
        for model, wanted in placed.origins.items():
            stand_in = self.heads.stand_in(model, wanted)
            if stand_in is not None:
                origins[model] = stand_in
        wanted = self._shape(leader, origins) if leader in origins else None
        missing = [model for model in placed.origins if model not in origins]
        if wanted is None or (missing and not self._may_miss(name, missing)):
            self._reject(name, missing, leader)
            return None
        if not self._same_shape(name, wanted, origins, leader):
            return None
        origins = {leader: origins[leader]} if missing else origins
        return TensorMatch(
            shape=self._output_shape(name, wanted),
            origins=origins,
            donors=self._donors(name, wanted, origins),
            slice=placed.slice,
            depth=placed.depth,
            copied=leader if missing else "",
        )

    def _donors(self, name: str, wanted: Shape, origins: Mapping[str, str]) -> dict[str, str]:
        """Other models with such a vocabulary tensor: those of other slices know more tokens."""
        if name not in self.resized:
            return {}
        others = {m: self.heads.stand_in(m, name) for m in self.sources if m not in origins}
        return {
            model: own
            for model, own in others.items()
            if own is not None and resize(self.shapes[model][own], 0) == resize(wanted, 0)
        }

    def _output_shape(self, name: str, shape: Shape) -> Shape:
        return resize(shape, self.rows) if name in self.resized else shape

    def _shape(self, model: str, origins: Mapping[str, str]) -> Shape:
        return self.shapes[model][origins[model]]

    def _may_miss(self, name: str, missing: Sequence[str]) -> bool:
        """Whether the reference's tensor may be copied because these models lack it."""
        if RECOMPUTED.fullmatch(name):
            return True
        if self.unmatched == "refuse":
            return False
        verb = "lack" if missing[1:] else "lacks"
        self.notes.append(f"{name} is copied: {' and '.join(missing)} {verb} it")
        return True

    def _reject(self, name: str, missing: Sequence[str], leader: str) -> None:
        for model in missing:
            self.rejected.append(
                Rejection(
                    name=name,
                    model=model,
                    reason=f"is in {leader} only" if model != leader else "is not in it",
                    missing=True,
                )
            )

    def _same_shape(
        self, name: str, wanted: Shape, origins: Mapping[str, str], leader: str
    ) -> bool:
        before = len(self.rejected)
        for model in origins:
            shape = self._shape(model, origins)
            if shape == wanted or (name in self.resized and resize(shape, 0) == resize(wanted, 0)):
                continue
            alike = len(shape) == len(wanted) == 2 and shape[1] == wanted[1]
            kind = "has another vocabulary size" if alike else "has another shape"
            reason = f"{kind}: {list(shape)}, in {leader} {list(wanted)}"
            self.rejected.append(Rejection(name=name, model=model, reason=reason))
        return len(self.rejected) == before

    def extras(self) -> dict[str, TensorMatch]:
        """Tensors that the reference lacks, by the rule for them."""
        kept: dict[str, TensorMatch] = {}
        for model, own in self.shapes.items():
            for name in own:
                if name in self.shapes[self.reference] or self.heads.is_new(model, name):
                    continue
                if name in kept or self._is_ignored(model, name):
                    continue
                if name in self.sources[self.reference].buffers:
                    reason = f"is stored as whole numbers in {self.reference}"
                    self.rejected.append(Rejection(name=name, model=model, reason=reason))
                elif self.unmatched == "refuse":
                    reason = f"is not in {self.reference}"
                    self.rejected.append(
                        Rejection(name=name, model=model, reason=reason, missing=True)
                    )
                elif self.unmatched == "keep":
                    self.notes.append(f"{name} is copied from {model}, the first that has it")
                    kept[name] = TensorMatch(
                        shape=self._output_shape(name, own[name]),
                        origins={model: name},
                        donors=self._donors(name, own[name], {model: name}),
                        copied=model,
                    )
                else:
                    self.notes.append(f"{name} of {model} is left out: it is not in the reference")
        return kept

    def strangers(self, tensors: Mapping[str, TensorMatch]) -> list[tuple[str, float]]:
        """Models of whose weights less than half have a part in the merge, and how much has."""
        named = {
            m: {t.origins.get(m) for t in tensors.values() if not t.copied} for m in self.shapes
        }
        named = {m: n | {r.name for r in self.rejected if not r.missing} for m, n in named.items()}
        entries = {m: sum(map(prod, own.values())) for m, own in self.shapes.items()}
        shares = {
            m: sum(prod(s) for n, s in own.items() if n in named[m]) / max(1, entries[m])
            for m, own in self.shapes.items()
        }
        low = [(m, share) for m, share in shares.items() if share < 0.5 and entries[m]]
        return sorted(low, key=lambda each: each[0] == self.reference)

    def _is_ignored(self, model: str, name: str) -> bool:
        """A buffer that is computed anew, or a stored head that the model ties anyway."""
        return bool(RECOMPUTED.fullmatch(name)) or self.heads.is_unused(model, name)

    def refuse_left_out(self, tensors: Mapping[str, TensorMatch], spans: Iterable[Span]) -> None:
        """Reject tensors inside a slice that its first model does not have."""
        used = {(m, n) for match in tensors.values() for m, n in match.origins.items()}
        known = used | {(r.model, r.name) for r in self.rejected}
        for span in spans:
            for model, (first, end) in span.items():
                stack = main_stack(self.shapes[model])[0]
                for name in self.shapes[model]:
                    layer = layer_of(name)
                    inside = layer and layer.stack == stack and first <= layer.number < end
                    if inside and (model, name) not in known and self.unmatched != "drop":
                        reason = f"is not in the layers of {next(iter(span))} it is merged with"
                        self.rejected.append(Rejection(name=name, model=model, reason=reason))
