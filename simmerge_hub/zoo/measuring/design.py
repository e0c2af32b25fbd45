"""Which pairs of a zoo are measured: all, or as many as its recipe says, drawn by its seed."""

import hashlib
from collections.abc import Sequence
from itertools import combinations

from simmerge_hub.selector.tables.outcomes import SMALLEST_GAP
from simmerge_hub.zoo.manifest import Manifest

Pair = tuple[str, str]


def families(manifest: Manifest, names: Sequence[str]) -> dict[str, list[str]]:
    """Base -> those of `names` that come from it; only they can be merged with each other."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(manifest.models[name].spec["base"], []).append(name)
    return found


def pairs_of(manifest: Manifest, base: str, members: Sequence[str]) -> list[Pair]:
    """The unordered pairs of one base's specialists to measure.

    Where the recipe limits them, those in which neither model is better than the other at its own
    task are left out (there is nothing to lose), and the rest are ordered by a hash of seed and
    names: to raise the limit takes none away.
    """
    every = list(combinations(members, 2))
    most = manifest.pairs.get("most", {}).get(base)
    if most is None:
        return every
    chosen = [pair for pair in every if _has_gap(manifest, *pair)]
    seed = manifest.pairs["seed"]
    return sorted(sorted(chosen, key=lambda pair: _place(seed, pair))[:most])


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
