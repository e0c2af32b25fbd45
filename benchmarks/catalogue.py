"""Seconds to choose from a catalogue of 100 models: read it, sign the shortlist, plan.

    python benchmarks/catalogue.py --zoo FOLDER       # what `zoo build recipes/zoo.yaml` made

A localhub holds the zoo's full fine-tunes of one base and copies of them with seeded noise, 100 in
all, and four repositories that cannot be merged, in one collection. The copies' scores are made up:
the original's, times a seeded factor. Everything runs in this process, on this machine, over
loopback: a Hub far away adds its round trips. Writes benchmarks/catalogue.json.
"""

import argparse
import json
import os
import platform
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmerge_hub import localhub

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from simmerge_hub.zoo.manifest import Manifest

HERE = Path(__file__).parent
BASE, ORG, MODELS = "skills", "zoo", 100
NOISE = 0.02
"""Standard deviation of the noise, over that of the tensor."""
UNUSABLE = {
    "gguf": "model.gguf",
    "pickle": "pytorch_model.bin",
    "none": "notes.txt",
    "keras": "m.h5",
}


def main() -> None:
    """Fill a Hub, plan, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--zoo", type=Path, required=True, help="a built zoo")
    options = parser.parse_args()
    fast = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="catalogue-", dir=fast) as folder,
        localhub.running(Path(folder) / "hub") as hub,
    ):
        os.environ.update(hub.environment(), HF_HUB_DISABLE_PROGRESS_BARS="1")
        slug = published(options.zoo)
        found = {"machine": machine(), "models": MODELS, "unusable": len(UNUSABLE)}
        found["runs"] = [
            run("nothing cached, merges of two", slug, most=2),
            run("signatures cached, merges of two", slug, most=2),
            run("signatures cached, merges of up to four", slug, most=4),
        ]
    (HERE / "catalogue.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def run(what: str, slug: str, *, most: int) -> dict[str, Any]:
    """One plan: how many were found, and where the seconds went."""
    from simmerge_hub.planning.ask.options import Catalogue, Search
    from simmerge_hub.planning.plan import plan

    began = time.perf_counter()
    made = plan(catalogue=Catalogue(collection=slug), search=Search(most=most))
    seconds = time.perf_counter() - began
    survey = made.survey
    assert survey is not None
    return {
        "run": what,
        "listed": survey.listed,
        "searched": len(survey.shortlist),
        "dropped": len(survey.dropped),
        "tasks": len(made.tasks),
        "merges_predicted": made.verdict.scored,
        "seconds": {k: round(v, 2) for k, v in {**made.seconds, "all": seconds}.items()},
        "choice": made.best.label,
    }


def published(zoo: Path) -> str:
    """Put base, probes, specialists and their noisy copies on the Hub; the collection's name."""
    from huggingface_hub import CommitOperationAdd, HfApi

    from simmerge_hub.zoo.manifest import load_manifest
    from simmerge_hub.zoo.publish import model_card, probes_card

    api, manifest = HfApi(), load_manifest(zoo)

    def put(name: str, files: dict[str, bytes], kind: str = "model") -> None:
        api.create_repo(f"{ORG}/{name}", repo_type=kind)
        operations = [CommitOperationAdd(path, data) for path, data in files.items()]
        api.create_commit(f"{ORG}/{name}", operations, commit_message="add", repo_type=kind)

    for task in manifest.tasks:
        files = {"probe.jsonl": manifest.probes(task).read_bytes()}
        card = probes_card(manifest, task).encode()
        put(f"probes-{task}", files | {"README.md": card}, "dataset")
    originals = [
        name
        for name, entry in manifest.models.items()
        if entry.kept and entry.kind == "full" and entry.spec["base"] == BASE
    ]
    card = model_card(manifest, BASE, ORG)
    put(BASE, folder_files(manifest.path(BASE)) | {"README.md": card.encode()})
    names = [BASE]
    for number in range(MODELS):
        original, seed = originals[number % len(originals)], number // len(originals)
        names.append(f"{original}-v{seed}" if seed else original)
        put(names[-1], varied(manifest, original, number if seed else None))
    for name, file in UNUSABLE.items():
        names.append(f"unusable-{name}")
        card = f"---\nbase_model: {ORG}/{BASE}\n---\n".encode()
        put(names[-1], {file: b"nothing", "README.md": card})
    return collected(api, names)


def varied(manifest: "Manifest", name: str, seed: int | None) -> dict[str, bytes]:
    """The files of a model; with a seed, its weights with noise and its scores somewhat lower."""
    import torch
    import yaml
    from safetensors.torch import load, save

    from simmerge_hub.zoo.publish import model_card

    files = folder_files(manifest.path(name))
    card = model_card(manifest, name, ORG)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        weights = {
            key: (w + NOISE * w.float().std() * torch.randn(w.shape, generator=generator)).to(
                w.dtype
            )
            for key, w in load(files["model.safetensors"]).items()
        }
        files["model.safetensors"] = save(weights, {"format": "pt"})
        front, text = card.removeprefix("---\n").split("\n---\n", 1)
        data, factor = yaml.safe_load(front), random.Random(seed).uniform(0.8, 1.0)
        for result in data["model-index"][0]["results"]:
            result["metrics"][0]["value"] *= factor
        card = f"---\n{yaml.safe_dump(data, sort_keys=False)}---\n{text}"
    return files | {"README.md": card.encode()}


def collected(api: "HfApi", names: list[str]) -> str:
    """A collection of these models; its name."""
    slug = api.create_collection("A hundred specialists", namespace=ORG).slug
    for name in names:
        api.add_collection_item(slug, f"{ORG}/{name}", "model")
    return slug


def folder_files(folder: Path) -> dict[str, bytes]:
    """The files of a model."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def machine() -> dict[str, Any]:
    """What this ran on; other work ran on it too."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "note": "a shared virtual machine with other work on it; one run",
    }


if __name__ == "__main__":
    main()
