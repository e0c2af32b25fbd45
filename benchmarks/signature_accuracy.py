"""Sampled structural features against exact ones, and whether decisions stay the same.

    python benchmarks/signature_accuracy.py                     # the packaged nano models, 1.1 B
    python benchmarks/signature_accuracy.py --zoo build/zoo     # a zoo of your own
    python benchmarks/signature_accuracy.py --only nano         # minutes, little memory

Nano models are sampled whole by default, so their exact features are those of their signatures;
here sampling is forced to 1 % of the entries and to more. Where the zoo has fewer than MODELS
specialists, copies with seeded noise make up the number. Of 1.1 B models (a base and five
fine-tunes from `synthetic.py`) half a per cent is sampled by default, and exact features are
computed tensor by tensor, by the same code; what arms do to a pair is taken from the sample there,
on both sides. Writes benchmarks/signature_accuracy.json.
"""

import argparse
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import permutations
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from feature_errors import Seen, decisions, errors
from synthetic import TUNINGS, save_base, save_fine_tune, save_noisy

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.operators import BALANCED, Arm
from simmerge_hub.selector.predictor import archive
from simmerge_hub.selector.predictor.origin import packaged_predictor
from simmerge_hub.signatures.features.context import Pair
from simmerge_hub.signatures.features.registry import REGISTRY
from simmerge_hub.signatures.features.vector import (
    FEATURE_NAMES,
    FEATURE_SCHEMA,
    Features,
    features,
)
from simmerge_hub.signatures.measures import deltas
from simmerge_hub.signatures.measures.sums import TensorSums
from simmerge_hub.signatures.merged.effects import effects
from simmerge_hub.signatures.probing.probe import ProbeSet, probe_set
from simmerge_hub.signatures.signing.signature import Settings, Signature, sign
from simmerge_hub.weights.shapes import shapes
from simmerge_hub.weights.stream import open_tensors
from simmerge_hub.zoo.manifest import Manifest, load_manifest

HERE = Path(__file__).parent
PACKAGED = HERE.parent / "simmerge_hub" / "zoo" / "nano"
MODELS = 16
NOISE = (0.01, 0.03, 0.1)
SHARES = (0.01, 0.03, 0.1, 0.3)


def main() -> None:
    """Measure both and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--zoo", type=Path, default=PACKAGED, help="what zoo build made")
    parser.add_argument("--only", choices=["nano", "synthetic"], help="keep the other's numbers")
    parser.add_argument("--synthetic", type=Path, help="where the 1.1 B models are, or are kept")
    parser.add_argument("--work", help="where models are written for the time being")
    options = parser.parse_args()
    file = HERE / "signature_accuracy.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    work = Path(tempfile.mkdtemp(prefix="signature-accuracy-", dir=options.work))
    try:
        if options.only != "synthetic":
            found["nano"] = nano(options.zoo, work)
        if options.only != "nano":
            found["synthetic_1.1B"] = synthetic(options.synthetic or work / "synthetic")
    finally:
        shutil.rmtree(work)
    file.write_text(json.dumps(found, indent=2) + "\n")
    print(
        json.dumps({n: {k: v for k, v in e.items() if k != "features"} for n, e in found.items()})
    )


# Nano models


@dataclass(frozen=True, slots=True, kw_only=True)
class Specialist:
    """A model of the zoo, or a noisy copy of one; the zoo's task it is good at."""

    checkpoint: Checkpoint
    base: Checkpoint
    task: str


def nano(folder: Path, work: Path) -> dict[str, Any]:
    """Every ordered pair on the expert's task, for several shares of the entries."""
    manifest = load_manifest(folder)
    probes = [probe_set(t, str(manifest.probes(t))) for t in manifest.tasks]
    zoo = list(specialists(manifest))
    copies = [] if len(zoo) >= MODELS else list(noisy(zoo, work, MODELS - len(zoo)))
    models = [*zoo, *copies]
    base = models[0].base
    entries = sum(prod(h.shape) for h in base.tensors.values())
    trained = archive.load(packaged_predictor())
    exact = pairs(models, probes, Settings(), trained.arms)
    bare = [(structural(f), moved) for f, moved in exact]
    found: dict[str, Any] = {
        "zoo": manifest.name,
        "specialists": len(zoo),
        "noisy_copies": len(copies),
        "noise": NOISE if copies else (),
        "entries": entries,
        "shares": {},
    }
    for share in SHARES:
        few = pairs(models, probes, Settings(entries=int(share * entries)), trained.arms)
        found["shares"][f"{share:g}"] = {
            "rows_of_a_matrix": rows_of_a_matrix(base, int(share * entries)),
            "full": decisions(trained, exact, few, BALANCED, entries),
            "structural": decisions(
                trained, bare, [(structural(f), moved) for f, moved in few], BALANCED, entries
            ),
            "features": errors([f for f, _ in bare], [structural(f) for f, _ in few]),
        }
    return found


def specialists(manifest: Manifest) -> Iterator[Specialist]:
    """Those that were kept and have the base that most have."""
    bases = [e.spec["base"] for e in manifest.specialists.values()]
    common = max(sorted(set(bases)), key=bases.count)
    base = resolve(str(manifest.path(common)))
    for name, entry in manifest.specialists.items():
        if entry.spec["base"] == common:
            best = max(entry.scores, key=lambda task: entry.scores[task]["exact_match"])
            yield Specialist(checkpoint=resolve(str(manifest.path(name))), base=base, task=best)


def noisy(zoo: Sequence[Specialist], work: Path, count: int) -> Iterator[Specialist]:
    """Copies of full models with noise, one model and one size of noise after another."""
    full = [s for s in zoo if s.checkpoint.kind == "full"]
    for number in range(count):
        one, scale = full[number % len(full)], NOISE[number // len(full) % len(NOISE)]
        assert one.checkpoint.ref.folder is not None
        copy = save_noisy(one.checkpoint.ref.folder, work / f"noisy-{number}", scale, number)
        yield replace(one, checkpoint=resolve(str(copy)))


def pairs(
    models: Sequence[Specialist],
    probes: Sequence[ProbeSet],
    settings: Settings,
    arms: Sequence[Arm],
) -> list[Seen]:
    """The features of all ordered pairs, and what the arms do to them."""

    def signed(checkpoint: Checkpoint, base: Checkpoint | None) -> Signature:
        return sign(checkpoint, base=base, probe_sets=probes, settings=settings)

    origin = signed(models[0].base, None)
    made = [signed(m.checkpoint, m.base) for m in models]
    return [
        (
            features(made[i], made[j], origin, models[i].task),
            effects(made[i], made[j], origin, arms),
        )
        for i, j in permutations(range(len(models)), 2)
    ]


def structural(found: Features) -> Features:
    """What `--signals structural` sees."""
    hidden = [bool(REGISTRY[n].needs & {"behaviour", "attention"}) for n in found.names]
    return replace(found, values=np.where(hidden, np.nan, found.values))


def rows_of_a_matrix(base: Checkpoint, entries: int) -> float:
    """Rows sampled of a matrix, the median."""
    sampled = sign(base, settings=Settings(entries=entries)).sampled
    return float(np.median([len(t) for n, t in sampled.items() if len(base.tensors[n].shape) > 1]))


# Synthetic models of 1.1 B


@dataclass(frozen=True, kw_only=True, eq=False)
class Whole(Pair):
    """A pair whose tables are of every entry, made elsewhere."""

    between_weights: TensorSums
    of_both: TensorSums
    of_one: Mapping[str, TensorSums]

    @property
    def weights(self) -> TensorSums:  # type: ignore[override]
        """Sums over the models' weights."""
        return self.between_weights

    @property
    def common(self) -> TensorSums:  # type: ignore[override]
        """Sums over both deltas."""
        return self.of_both

    def own(self, side: str) -> TensorSums:
        """Sums over one side's delta."""
        return self.of_one[side]


def synthetic(folder: Path) -> dict[str, Any]:
    """Every ordered pair of five fine-tunes, by weights alone."""
    base = resolve(str(kept(folder / "base", save_base)))
    models = []
    for seed, (name, tuning) in enumerate(TUNINGS.items(), 1):
        made = kept(
            folder / name, lambda at, t=tuning, s=seed: save_fine_tune(folder / "base", at, t, s)
        )
        models.append(resolve(str(made)))
    origin, signed = sign(base), [sign(m) for m in models]
    couples = list(permutations(range(len(models)), 2))
    sampled = [features(signed[i], signed[j], origin, "") for i, j in couples]
    exact = exact_features(models, base, signed, origin)
    entries = sum(prod(h.shape) for h in base.tensors.values())
    share = sum(t.numel() for t in origin.sampled.values()) / entries
    trained = archive.load(packaged_predictor())
    moved = [effects(signed[i], signed[j], origin, trained.arms) for i, j in couples]
    return {
        "fine_tunes": list(TUNINGS),
        "entries": entries,
        "share_sampled": round(share, 5),
        "rows_of_a_matrix": float(
            np.median([len(t) for t in origin.sampled.values() if len(t) > 1])
        ),
        "structural": decisions(
            trained,
            list(zip(exact, moved, strict=True)),
            list(zip(sampled, moved, strict=True)),
            BALANCED,
            entries,
        ),
        "features": errors(exact, sampled),
    }


def kept(folder: Path, make: Any) -> Path:
    """A model that is there, or made now."""
    return folder if (folder / "model.safetensors.index.json").exists() else make(folder)


def exact_features(
    models: Sequence[Checkpoint],
    base: Checkpoint,
    signed: Sequence[Signature],
    origin: Signature,
) -> list[Features]:
    """Of all ordered pairs, from every entry; one tensor of all models is in memory at a time."""
    couples = [(i, j) for i, j in permutations(range(len(models)), 2) if i < j]
    with open_tensors(base) as root, ThreadPoolExecutor(2) as pool:
        readers = [open_tensors(model) for model in models]
        rows = [reader.__enter__() for reader in readers]

        def tables(name: str) -> dict[Any, TensorSums]:
            first = _only(origin, name, root[name])
            others = [_only(s, name, r[name]) for s, r in zip(signed, rows, strict=True)]
            moved = [deltas.delta(other, first) for other in others]
            found: dict[Any, TensorSums] = {i: d.sums for i, d in enumerate(moved)}
            for i, j in couples:
                found["weights", i, j] = deltas.weight_sums(others[i], others[j])
                found["deltas", i, j] = deltas.delta_sums(moved[i], moved[j], first)
            return found

        parts = list(pool.map(tables, shapes(base)))
        for reader in readers:
            reader.__exit__(None, None, None)
    whole = {key: _joined([part[key] for part in parts]) for key in parts[0]}
    return [
        _features(
            Whole(
                expert=signed[i], auxiliary=signed[j], base=origin, task="",
                between_weights=whole["weights", min(i, j), max(i, j)],
                of_both=whole["deltas", min(i, j), max(i, j)],
                of_one={"expert": whole[i], "auxiliary": whole[j]},
            )
        )
        for i, j in permutations(range(len(models)), 2)
    ]  # fmt: skip


def _only(signature: Signature, name: str, rows: Any) -> Signature:
    """A signature of one whole tensor of a model."""
    whole = rows.read(0, rows.shape[0] if len(rows.shape) > 1 else 1)
    return replace(signature, sampled={name: whole}, sketches={})


def _joined(parts: Sequence[TensorSums]) -> TensorSums:
    return TensorSums(
        names=tuple(n for part in parts for n in part.names),
        columns={k: np.concatenate([p.columns[k] for p in parts]) for k in parts[0].columns},
        groups={k: np.concatenate([p.groups[k] for p in parts]) for k in parts[0].groups},
    )


def _features(pair: Pair) -> Features:
    values = [f.compute(pair) if f.needs <= pair.available else math.nan for f in REGISTRY.values()]
    return Features(names=FEATURE_NAMES, values=np.array(values, np.float64), schema=FEATURE_SCHEMA)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
