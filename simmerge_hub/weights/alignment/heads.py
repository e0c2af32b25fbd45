"""Heads that one model stores and another ties to its embedding: what stands for what.

Known from names, shapes and configs alone: outside the layers, matrices of one shape are embedding
and head, if they have a row for each token that the config counts. A pooler and a head's own dense
layer, which are of one shape too, are not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.layers import TOWER, layer_of

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The heads of several models; `shapes` are those of each one's tensors by name."""

    sources: Mapping[str, Checkpoint]
    shapes: Mapping[str, Mapping[str, Shape]]
    reference: str

    def stand_in(self, model: str, name: str) -> str | None:
        """What holds this tensor in a model: itself, or the embedding its head is tied to."""
        own = self.shapes[model]
        if name in own:
            return name
        if layer_of(name) or self._stated_tie(model) is False:
            return None
        others = [m for m in self.shapes if name in self.shapes[m]]
        twins = self._twins(others[0], name) if others else []
        held = [twin for twin in twins if twin in own]
        return held[0] if len(held) == 1 else None

    def is_new(self, model: str, name: str) -> bool:
        """Whether a model has a head where the reference uses its embedding."""
        return (
            name not in self.shapes[self.reference]
            and not layer_of(name)
            and len(self.shapes[model][name]) == 2
            and self._stated_tie(model) is not True
            and self._stated_tie(self.reference) is not False
            and len([t for t in self._twins(model, name) if t in self.shapes[self.reference]]) == 1
        )

    def parts_a_tie(self, model: str) -> bool:
        """Whether the reference ties its head, though it stores one, and a model's is its own."""
        stored = self.shapes[self.reference]
        return (
            self._stated_tie(self.reference) is True
            and self._stated_tie(model) is False
            and any(
                name in self.shapes[model] and not layer_of(name) and len(shape) == 2
                and self._twins(self.reference, name)
                for name, shape in stored.items()
            )
        )  # fmt: skip

    def is_unused(self, model: str, name: str) -> bool:
        """Whether a model stores a head, and uses its embedding anyway."""
        twins = [] if layer_of(name) else self._twins(model, name)
        return self._stated_tie(model) is True and bool(twins)

    def conflicts(self, models: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Models that state another tie than the first of `models`, each with the reason."""
        stated = {model: self._stated_tie(model) for model in models}
        first, wanted = next(iter(stated.items()))
        for model, said in stated.items():
            if None not in (said, wanted) and said != wanted:
                yield model, f"says tie_word_embeddings {said}, in {first} {wanted}"

    def _twins(self, model: str, name: str) -> list[str]:
        """Other matrices outside the layers with the same shape: embeddings and heads."""
        own = self.shapes[model]
        sizes = _vocabulary_sizes(self.sources[model].config)
        if sizes and own[name][:1] not in sizes:
            return []
        return [
            other
            for other, shape in own.items()
            if other != name and len(shape) == 2 and shape == own[name] and not layer_of(other)
        ]

    def _stated_tie(self, model: str) -> bool | None:
        """What a model's config says of its head: tied to the embedding, not, or nothing."""
        config = self.sources[model].config
        nested = [part for key, part in _nested_configs(config).items() if not TOWER.fullmatch(key)]
        nested.sort(key=lambda part: "vocab_size" not in part)  # what knows tokens speaks first
        for each in (config, *nested):
            said = each.get("tie_word_embeddings")
            if isinstance(said, bool):
                return said
        return None


def _vocabulary_sizes(config: Mapping[str, object]) -> set[Shape]:
    """The numbers of tokens that a config states, its parts included, each as (rows,)."""
    return {
        (size,)
        for each in (config, *_nested_configs(config).values())
        for key, size in each.items()
        if "vocab" in key and "type" not in key and type(size) is int  # kinds of segments are none
    }


def _nested_configs(config: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    return {key: value for key, value in config.items() if isinstance(value, dict)}
