"""Random numbers that belong to an entry, not to a moment.

The number of an entry depends on (seed, model, tensor, index of the entry) alone: a generator is
keyed by the first three and advanced to the fourth. Chunks, order, threads and shards do not
matter. A model is known by its name, so the same model is thinned alike wherever it stands.

An entry gets 16 bits, four entries one number of the generator, which is what drawing costs. So a
probability is a whole number of 65,536ths, and whoever divides by it divides by that.
"""

import hashlib

import numpy as np

from simmerge_hub.operators.registry import Place

SPAN = 2**16
FULL = 2**64 - 1


def words(place: Place, model: int, rows: int, cols: int) -> np.ndarray:
    """One number for each entry of `rows` whole rows from `place.low`: uint16 [rows, cols]."""
    first, count = place.low * cols, rows * cols
    skipped = first % 4
    generator = np.random.Generator(np.random.PCG64DXSM(_key(place, model)).advance(first // 4))
    quads = generator.integers(  # the raw stream; unlike random_raw, other threads run meanwhile
        0, FULL, size=(skipped + count + 3) // 4, dtype=np.uint64, endpoint=True
    )
    halves = np.ascontiguousarray(quads, dtype="<u8").view("<u2")
    return halves[skipped : skipped + count].reshape(rows, cols)


def below(share: float | np.ndarray) -> np.ndarray:
    """The word below which entries fall with this probability: uint16, for `words(...) < it`."""
    return np.clip(np.rint(np.multiply(share, SPAN)), 1, SPAN - 1).astype(np.uint16)


def _key(place: Place, model: int) -> int:
    name = place.models[model] if place.models else str(model)
    text = repr((place.seed, name, place.tensor)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
