"""What reading answers adds where trees of three and four models are tried.

    python benchmarks/trying_trees.py ZOO    # a built zoo; an hour of a core

Plans of sets of nano models (those of `trying.py sets`), each with four merges tried and the safe
one. A merge that was tried is judged twice: by how it behaves on the prompts (likeness; all that
the trial for three and more looked at before it read answers), and by what it keeps of the
experts' own answers as well. Each made merge is examined beside that, which no plan sees. Writes
benchmarks/trying_trees.json; a stopped run goes on (build/trying-trees.jsonl).
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM
from trying import BUILD, SET_BASE, SET_SIZES, draw_sets

from simmerge_hub import plan
from simmerge_hub.planning.ask.options import Search, Tasks
from simmerge_hub.planning.trying.trial import Workshop
from simmerge_hub.zoo.evaluation import evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, cast_for_exams, load_manifest
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

HERE = Path(__file__).parent
TRIES = 4
LEAST = 5
"""Sets of a size without which nothing is said of it."""
BY = ("best of those tried", "by answers too", "by likeness", "by prediction")


def main() -> None:
    """Plan every set with merges tried, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("zoo", type=Path, nargs="?", help="left out: only the report is written")
    zoo = parser.parse_args().zoo
    torch.set_num_threads(1)
    journal = BUILD / "trying-trees.jsonl"
    BUILD.mkdir(exist_ok=True)
    lines = journal.read_text().splitlines() if journal.exists() else []
    rows = [json.loads(line) for line in lines]
    write_report(rows)
    known = {tuple(row["models"]) for row in rows}
    manifest = load_manifest(zoo) if zoo else None
    for size in SET_SIZES if manifest else ():
        for models in draw_sets(manifest, size):
            if models not in known:
                rows.append({"models": models, **try_set(manifest, models)})
                with journal.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                write_report(rows)
                print(len(rows), *models, flush=True)


def write_report(rows: list[dict[str, Any]]) -> None:
    """Write the JSON of the sets that were tried so far."""
    counts = Counter(len(row["models"]) for row in rows)
    sizes = [size for size, count in sorted(counts.items()) if count >= LEAST]
    report = {str(size): judge([r for r in rows if len(r["models"]) == size]) for size in sizes}
    (HERE / "trying_trees.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")


def try_set(manifest: Manifest, models: tuple[str, ...]) -> dict[str, Any]:
    """Strategy -> exact match of its merge, as a share of the experts', mean over the tasks."""
    tasks = {manifest.models[name].spec["task"]: name for name in models}
    reached: dict[str, float] = {}
    make, read = Workshop.make, Workshop._read
    label = ""

    def make_and_note(self: Workshop, tree: Any, **how: Any) -> Any:
        nonlocal label
        label = tree.label
        return make(self, tree, **how)

    def read_and_examine(self: Workshop, merged: Any) -> Any:
        reached[label] = examine(manifest, merged.location.folder, tasks)
        return read(self, merged)

    def find_nothing(self: Workshop, tree: Any) -> None:
        """What was tried before was not examined."""

    asked: Any = {
        "base": str(manifest.path(SET_BASE)),
        "tasks": Tasks(experts=tasks, probes={task: str(manifest.probes(task)) for task in tasks}),
        "search": Search(least=len(models)),
    }
    folders = [str(manifest.path(name)) for name in models]
    Workshop.make, Workshop._read = make_and_note, read_and_examine
    Workshop.find = find_nothing
    try:
        blind, made = plan(*folders, **asked), plan(*folders, **asked, tries=TRIES)
    finally:
        Workshop.make, Workshop._read = make, read
    behaves = {name: mean_of(tried.predicted) for name, tried in made.tried.items()}
    chosen = {
        "by answers too": made.best.label,
        "by likeness": max(behaves, key=lambda name: behaves[name]),
        "by prediction": blind.best.label,
    }
    best = max(reached, key=lambda name: reached[name])
    return {
        "reached": {name: reached[arm] for name, arm in chosen.items() if arm in reached}
        | {"best of those tried": reached[best]},
        "merges": chosen | {"best of those tried": best},
    }


def examine(manifest: Manifest, folder: Path, tasks: Mapping[str, str]) -> float:
    """Exact match on each task over its expert's own, mean."""
    model = cast_for_exams(manifest, AutoModelForCausalLM.from_pretrained(folder).eval())
    codec = codec_for(manifest, SET_BASE)
    shares = []
    for task, expert in tasks.items():
        asked = exam(find_task(manifest.tasks[task]), manifest.evaluation, codec=codec)
        own = manifest.models[expert].scores[task]["exact_match"]
        shares.append(mean(evaluate(model, asked).exact_match) / own)
    return fmean(shares)


def mean_of(spreads: Mapping[str, Any]) -> float:
    """The middle of what is expected, over tasks."""
    return fmean(spread[0] for spread in spreads.values())


def judge(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean of each strategy, and of what answers add, with its standard error over sets."""
    names = [name for name in BY if all(name in row["reached"] for row in rows)]
    values = {name: np.array([row["reached"][name] for row in rows]) for name in names}
    added = values["by answers too"] - values["by likeness"]
    return {
        "sets": len(rows),
        "share of the experts": {n: round(float(v.mean()), 4) for n, v in values.items()},
        "answers add": round(float(added.mean()), 4),
        "standard error": round(float(added.std(ddof=1) / len(added) ** 0.5), 4),
        "another merge by answers": float(np.mean(added != 0)),
    }


if __name__ == "__main__":
    main()
