"""Which pairs of a zoo are measured: all, or as many as its recipe says, drawn by its seed."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import combinations

from simmerge_hub.selector.tables.outcomes import SMALLEST_GAP
from simmerge_hub.zoo.manifest import Manifest

Pair = tuple[str, str]
HEX_DIGITS = 64
"""Of a sha256 in hexadecimal."""


def families(manifest: Manifest, names: Sequence[str]) -> dict[str, list[str]]:
    """Base -> those of `names` that come from it; only they can be merged with each other."""
    by_base: dict[str, list[str]] = {}
    for name in names:
        by_base.setdefault(manifest.models[name].spec["base"], []).append(name)
    return by_base


def pairs_of(manifest: Manifest, base: str, members: Sequence[str]) -> list[Pair]:
    """The unordered pairs of one base's specialists to measure.

    Where the recipe limits them, those in which neither model is better than the other at its own
    task are left out (there is nothing to lose), and the rest are ordered by a hash of seed and
    names: to raise the limit takes none away. A share comes in that order, so that what is
    measured first is spread over all models.
    """
    most = manifest.pairs.get("most", {}).get(base)
    share = manifest.pairs.get("share", {}).get(base)
    if share is not None:
        pairs = draw_pairs(members, share, manifest.pairs["seed"])
        return [pair for pair in pairs if _has_gap(manifest, *pair)]
    every = list(combinations(members, 2))
    if most is None:
        return every
    seed = manifest.pairs["seed"]
    chosen = [pair for pair in every if _has_gap(manifest, *pair)]
    return sorted(sorted(chosen, key=lambda pair: _place(seed, pair))[:most])


def draw_pairs(members: Iterable[str], share: float, seed: int) -> list[Pair]:
    """About a share of all pairs, in the order of their hashes; known before a model is trained."""
    places = {pair: _place(seed, pair) for pair in combinations(sorted(members), 2)}
    few = (pair for pair, place in places.items() if int(place, 16) < share * 16**HEX_DIGITS)
    return sorted(few, key=places.__getitem__)


def _has_gap(manifest: Manifest, one: str, other: str) -> bool:
    return any(
        _score(manifest, expert, expert) - _score(manifest, auxiliary, expert) >= SMALLEST_GAP
        for expert, auxiliary in ((one, other), (other, one))
    )


def _score(manifest: Manifest, model: str, expert: str) -> float:
    """Exact match of `model` on the task of `expert`."""
    return manifest.models[model].scores[manifest.models[expert].spec["task"]]["exact_match"]


def _place(seed: int, pair: Pair) -> str:
    return hashlib.sha256("/".join((str(seed), *pair)).encode()).hexdigest()
