"""Many models, each signed once -> all pairs: how alike, over which layers, and who is near whom.

Knows signatures, and how to get them; nothing of operators, plans or pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np

from simmerge_hub.errors import AlignmentError, BaseUnknown, RequestError
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.progress import Note, Say
from simmerge_hub.signatures.map.linkage import Dendrogram, average_linkage
from simmerge_hub.signatures.map.pairwise import (
    behaviour_measures,
    delta_norms,
    pair_measures,
    pair_sums,
)
from simmerge_hub.signatures.measures.blocks import block_of
from simmerge_hub.signatures.measures.deltas import shared_tensors
from simmerge_hub.signatures.probing.probe import PROBE_DOMAINS, probe_set
from simmerge_hub.signatures.published.shared import find_or_sign
from simmerge_hub.signatures.signing.signature import Request, Signature
from simmerge_hub.weights.alignment.align import align
from simmerge_hub.weights.alignment.lineage import base_notes, common_base
from simmerge_hub.weights.loaded.conform import conform
from simmerge_hub.weights.shapes import shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """Two models, by number, and how alike they are."""

    models: tuple[int, int]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelMap:
    """All pairs of N models with L layers. NaN means missing.

    Args:
        names, commits: of the models, in the order given.
        base: the name of what they were fine-tuned from; None if there is nothing they share.
        pairs: measure -> float64 [N, N], symmetric. `weight_cosine` always; with a base
            `delta_cosine` and `sign_conflict`; with probes `js.TASK` in nats and `js`, their mean.
        profiles: measure -> float64 [L, N, N], the same for the matrices of each layer.
        norms: float64 [N], norm of the delta over that of the base's weights.
        norm_profile: float64 [N, L], the same for each layer.
        tree: by `measure`; a missing cosine counts as 0.
        left_out: matrices that not all models have in one shape, and so are not compared.
        notes: sentences about what was decided by rule.
    """

    names: tuple[str, ...]
    commits: tuple[str | None, ...]
    base: str | None
    pairs: Mapping[str, np.ndarray] = field(repr=False)
    profiles: Mapping[str, np.ndarray] = field(repr=False)
    norms: np.ndarray = field(repr=False)
    norm_profile: np.ndarray = field(repr=False)
    tree: Dendrogram = field(repr=False)
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def measure(self) -> str:
        """What models are ordered by: the cosine of deltas; of weights where there is no base."""
        return _measure(self.pairs)

    @property
    def layers(self) -> int:
        """How many layers the models have."""
        return self.norm_profile.shape[1]

    def rank_pairs(self, measure: str = "") -> tuple[Similarity, ...]:
        """Every pair once, highest first by `measure` (by default the map's); missing ones last."""
        values = self.pairs[measure or self.measure]
        similarities = [
            Similarity(models=(i, j), value=float(values[i, j]))
            for i, j in combinations(range(len(self.names)), 2)
        ]
        return tuple(sorted(similarities, key=lambda pair: (np.isnan(pair.value), -pair.value)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for programs; None where a number is missing."""
        known = [pair for pair in self.rank_pairs() if np.isfinite(pair.value)]
        return {
            "base": self.base,
            "measure": self.measure,
            "models": [self._model(i) for i in range(len(self.names))],
            "pairs": [self._pair(*pair.models) for pair in self.rank_pairs()],
            "nearest": self._names_of(known[0].models) if known else None,
            "farthest": self._names_of(known[-1].models) if known else None,
            "order": self._names_of(self.tree.order),
            "tree": [
                {"models": self._names_of(merge.models), "height": _number(merge.height)}
                for merge in self.tree.joins
            ],
            "left_out": list(self.left_out),
            "notes": list(self.notes),
        }

    def _model(self, i: int) -> dict[str, Any]:
        layers = [_number(value) for value in self.norm_profile[i]]
        return {
            "name": self.names[i],
            "commit": self.commits[i],
            "delta_norm": _number(self.norms[i]),
            "layers": {"delta_norm": layers} if self.base else {},
        }

    def _pair(self, i: int, j: int) -> dict[str, Any]:
        return {
            "models": self._names_of((i, j)),
            **{measure: _number(values[i, j]) for measure, values in self.pairs.items()},
            "layers": {
                measure: [_number(value) for value in values[:, i, j]]
                for measure, values in self.profiles.items()
            },
        }

    def _names_of(self, models: Sequence[int]) -> list[str]:
        return [self.names[i] for i in models]


def map_models(
    *models: str,
    base: str | None = None,
    signals: Literal["structural", "full"] = "structural",
    signatures: Sequence[str] = (),
    progress: Say | None = None,
    note: Note | None = None,
) -> ModelMap:
    """Sign every model once and compare all pairs.

    What is signed already, here or by the model's owner on the Hub, is not signed again.

    Args:
        models: references, two or more: `org/name[@revision]` or a folder; adapters too.
        base: what they were fine-tuned from, if their cards do not say.
        signals: "structural" reads a few byte ranges of the weights; "full" also runs each model,
            which is downloaded whole, on our probes of five domains.
        signatures: repositories of others to take signatures from, `org/name`.
        progress: told what is being done.
        note: told what should be kept: bytes to download, signatures that are not believed.

    Raises:
        RequestError: fewer than two models, or one given twice.
        AlignmentError: models that do not match.
        SimmergeError: a model cannot be had, read or run.
    """
    say = progress or (lambda _: None)
    if len(models) < 2:
        raise RequestError(
            f"a map takes two models or more, and {len(models)} is given",
            hint="name other fine-tunes of the same base",
        )
    say("reading headers")
    checkpoints = [resolve(model) for model in models]
    origin, notes = _base(checkpoints, base)
    _refuse_twins(checkpoints, origin)
    alike = conform(checkpoints, origin)
    checkpoints, origin, notes = list(alike.models), alike.base, (*notes, *alike.notes)
    _refuse_misfits(checkpoints, origin)
    probes = tuple(probe_set(domain) for domain in PROBE_DOMAINS) if signals == "full" else ()

    def sign(checkpoint: Checkpoint) -> Signature:
        say(f"signing {checkpoint.name}")
        tasks = () if checkpoint is origin else probes
        return find_or_sign(
            Request(checkpoint=checkpoint, base=origin, probe_sets=tasks),
            third_parties=signatures,
            progress=lambda what, done, total: say(f"{what} ({done}/{total})"),
            note=note,
        ).signature

    root = sign(origin) if origin else None
    signed = [sign(checkpoint) for checkpoint in checkpoints]
    say("comparing")
    return compare_models(signed, root, notes=notes)


def compare_models(
    models: Sequence[Signature], base: Signature | None = None, *, notes: Sequence[str] = ()
) -> ModelMap:
    """All pairs of models from their signatures alone.

    Args:
        models: two or more; behaviour is compared on the tasks that all were probed with.
        base: what all were fine-tuned from; without it weights are compared, not deltas.
        notes: sentences to keep with the result.

    Raises:
        AlignmentError: there is no matrix that all have in one shape.
        SignatureError: signatures of different settings or probe sets.
    """
    names, left_out = _matrices([*models, *([base] if base else [])])
    sums = pair_sums(names, models, base)
    layers = {what: values[:-1] for what, values in sums.items()}
    whole = {what: values.sum(0) for what, values in sums.items()}
    pairs = pair_measures(whole) | behaviour_measures(models)
    return ModelMap(
        names=tuple(model.name for model in models),
        commits=tuple(model.commit for model in models),
        base=base.name if base else None,
        pairs=pairs,
        profiles=pair_measures(layers),
        norms=delta_norms(whole),
        norm_profile=delta_norms(layers).T,
        tree=average_linkage(np.maximum(1 - np.nan_to_num(pairs[_measure(pairs)]), 0)),
        left_out=left_out,
        notes=tuple(notes),
    )


def _matrices(models: Sequence[Signature]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The matrices that can be compared, and those that cannot."""
    names = tuple(n for n in shared_tensors(models) if len(models[0].shapes[n]) > 1)
    if not names:
        raise AlignmentError(
            f"{' and '.join(m.name for m in models)} have no matrix in common",
            hint="map fine-tunes of one base model",
        )
    left_out = {n: None for m in models for n, shape in m.shapes.items() if len(shape) > 1}
    for name in names:
        del left_out[name]
    return names, tuple(left_out)


def _base(
    models: Sequence[Checkpoint], named: str | None
) -> tuple[Checkpoint | None, tuple[str, ...]]:
    """The common base, or none and the reason: without one there is still something to map."""
    try:
        common = common_base(models, named)
    except BaseUnknown as error:
        if named or any(model.kind == "adapter" for model in models):
            raise
        return None, (f"weights are compared, not deltas: {error}",)
    if common is None:
        return None, ("weights are compared, not deltas: no card names a base, nor does --base",)
    return common, tuple(base_notes(models, common))


def _refuse_twins(models: Sequence[Checkpoint], base: Checkpoint | None) -> None:
    """Names tell models apart in tables and pictures, so each may be there once."""
    seen: dict[str, Checkpoint] = {}
    for checkpoint in [*models, *([base] if base else [])]:
        other = seen.setdefault(checkpoint.name, checkpoint)
        if other is not checkpoint and other.location == checkpoint.location:
            what = "the base of the others" if checkpoint is base else "given twice"
            raise RequestError(
                f"{checkpoint.ref} is {what}", hint="leave it out, and name each model once"
            )
        if other is not checkpoint:
            raise AlignmentError(
                f"{other.ref} and {checkpoint.ref} are both called {checkpoint.name}",
                hint="rename one of them, or push it to a repository of another name",
            )


def _refuse_misfits(models: Sequence[Checkpoint], base: Checkpoint | None) -> None:
    """Refuse what is another architecture; vocabularies of other sizes are only not compared."""
    sizes = shapes(base or models[0], base)
    for each in align(models, base).rejected:
        if block_of(each.name, sizes.get(each.name, ())) not in ("embedding", "head"):
            raise AlignmentError(
                f"{each.model} does not fit: {each.name} {each.reason}",
                hint=f"map models of one architecture and size; leave out {each.model}",
            )


def _measure(pairs: Mapping[str, np.ndarray]) -> str:
    return "delta_cosine" if "delta_cosine" in pairs else "weight_cosine"


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
