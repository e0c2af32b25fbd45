"""operator(signature) against the signature of the merge that was really made.

    python benchmarks/signature_merging.py                        # the packaged nano models
    python benchmarks/signature_merging.py --synthetic ./models   # and seven tensors of 1.1 B

Every operator of the registry, on signatures. Nano: six pairs of specialists, merged in full,
saved, signed and compared with a third specialist; so is the merged signature, once from whole
tensors and once from 10 % of the entries. Behaviour is never exact: it is predicted to first order.
1.1 B: the rows that are sampled of the seven matrices of one layer, merged from the sample and in
full. Writes benchmarks/signature_merging.json.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from pathlib import Path
from typing import Any

import torch
from feature_errors import errors
from safetensors.torch import save_file
from synthetic import TUNINGS
from torch import Tensor

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.operators import OPERATORS, Arm, Place, check, merge_tensors
from simmerge_hub.signatures.features.vector import Features, features
from simmerge_hub.signatures.merged.simulation import simulate_merge
from simmerge_hub.signatures.probing.probe import ProbeSet, probe_set
from simmerge_hub.signatures.signing.sample import choose_rows
from simmerge_hub.signatures.signing.signature import Settings, Signature, sign
from simmerge_hub.weights.shapes import shapes
from simmerge_hub.weights.stream import open_tensors

HERE = Path(__file__).parent
PACKAGED = HERE.parent / "simmerge_hub" / "zoo" / "nano"
NANO = ("code", "math", "multilingual", "instruct")
SHARE = 0.1
LAYER = "model.layers.11."
PAIR = ("low-rank", "sparse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A checkpoint and its signatures: of whole tensors, and of a tenth of the entries."""

    checkpoint: Checkpoint
    whole: Signature
    few: Signature


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--synthetic", type=Path, help="models of signature_accuracy.py, kept")
    options = parser.parse_args()
    file = HERE / "signature_merging.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory(prefix="signature-merging-") as work:
        found["nano"] = nano(Path(work))
    if options.synthetic:
        found["synthetic_1.1B"] = synthetic(options.synthetic)
    file.write_text(json.dumps(found, indent=2) + "\n")


def arms() -> Iterator[tuple[Arm, int]]:
    """Every operator with its defaults, and how many models it is given: two if it takes them."""
    for name, found in OPERATORS.items():
        least, most = found.models
        count = 2 if least <= 2 and (most is None or most >= 2) else least
        check(name, {}, count)
        yield Arm(operator=name, parameters={}), count


def nano(work: Path) -> dict[str, Any]:
    """Errors of every operator's merged signature, by family of features."""
    probes = [probe_set(t, str(PACKAGED / "probes" / f"{t}.jsonl")) for t in NANO]
    base = resolve(str(PACKAGED / "base"))
    entries = int(SHARE * sum(prod(h.shape) for h in base.tensors.values()))
    origin = signed(base, probes, entries)
    models = {n: signed(resolve(str(PACKAGED / n)), probes, entries) for n in NANO}
    table: dict[str, Any] = {}
    for chosen, count in arms():
        rows: dict[str, list[Features]] = {"real": [], "whole": [], "sampled": [], "real_few": []}
        for one, other in combinations(NANO, 2):
            (third, _) = [n for n in NANO if n not in (one, other)]
            pair, beside = [models[one], models[other]][:count], models[third]
            real = signed(
                built(chosen, base, pair, work / f"{chosen.operator}-{one}-{other}"),
                probes,
                entries,
            )
            derived = simulate_merge(chosen, origin.whole, [m.whole for m in pair])
            few = simulate_merge(chosen, origin.few, [m.few for m in pair])
            for task in (one, other):
                rows["real"].append(features(real.whole, beside.whole, origin.whole, task))
                rows["whole"].append(features(derived, beside.whole, origin.whole, task))
                rows["real_few"].append(features(real.few, beside.few, origin.few, task))
                rows["sampled"].append(features(few, beside.few, origin.few, task))
        exact = OPERATORS[chosen.operator].exact_on_samples
        sampled = errors(rows["real_few"], rows["sampled"])
        table[chosen.operator] = {
            "models": count,
            "exact_on_samples": exact,
            "whole": errors(rows["real"], rows["whole"]),
            "sampled": {"structural": sampled["structural"]},
        }
        print(chosen.label, flush=True)
    return {
        "models": NANO,
        "merges_per_operator": len(list(combinations(NANO, 2))),
        "share_sampled": SHARE,
        "operators": table,
    }


def signed(checkpoint: Checkpoint, probes: Sequence[ProbeSet], entries: int) -> Signed:
    """Both signatures of a checkpoint."""
    return Signed(
        checkpoint=checkpoint,
        whole=sign(checkpoint, probe_sets=probes),
        few=sign(checkpoint, probe_sets=probes, settings=Settings(entries=entries)),
    )


def built(chosen: Arm, base: Checkpoint, pair: Sequence[Signed], folder: Path) -> Checkpoint:
    """The merge itself in float32, beside the base's other files."""
    assert base.ref.folder is not None
    folder.mkdir()
    for file in base.ref.folder.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    names = tuple(m.checkpoint.name for m in pair)
    found = {}
    for name, header in base.tensors.items():
        first, *others = [_whole(c, name) for c in (base, *(m.checkpoint for m in pair))]
        place = Place(tensor=name, models=names, shape=header.shape)
        found[name] = merge_tensors(chosen, first, others, place)
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    return resolve(str(folder))


def _whole(checkpoint: Checkpoint, name: str) -> Tensor:
    with open_tensors(checkpoint, names=[name]) as rows:
        shape = rows[name].shape
        return rows[name].read(0, shape[0] if len(shape) > 1 else 1).reshape(shape)


def synthetic(folder: Path) -> dict[str, Any]:
    """‖merged sample − rows of the merge‖ over the norm of the merge's delta there."""
    assert set(PAIR) <= set(TUNINGS)
    base = resolve(str(folder / "base"))
    models = [resolve(str(folder / name)) for name in PAIR]
    names = [n for n, h in base.tensors.items() if n.startswith(LAYER) and len(h.shape) > 1]
    rows = choose_rows(shapes(base))
    gaps: dict[str, list[float]] = {chosen.operator: [] for chosen, _ in arms()}
    for name in names:
        whole = [_whole(c, name) for c in (base, *models)]
        taken = torch.cat([torch.arange(low, high) for low, high in rows[name]])
        place = Place(tensor=name, models=PAIR, shape=base.tensors[name].shape)
        few = [tensor[taken] for tensor in whole]
        for chosen, count in arms():
            real = merge_tensors(chosen, whole[0], whole[1:][:count], place)[taken]
            derived = merge_tensors(chosen, few[0], few[1:][:count], place)
            size = float((real - few[0]).norm())
            gaps[chosen.operator].append(float((derived - real).norm()) / size if size else 0.0)
        print(name, flush=True)
    return {
        "models": PAIR,
        "matrices": len(names),
        "rows_of_a_matrix": sorted({sum(h - low for low, h in rows[n]) for n in names}),
        "operators": {
            operator: {
                "exact_on_samples": OPERATORS[operator].exact_on_samples,
                "median_error": float(f"{sorted(found)[len(found) // 2]:.3g}"),
                "largest_error": float(f"{max(found):.3g}"),
            }
            for operator, found in gaps.items()
        },
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
