"""check, merge, push, recipe, operators: call the verb, show what it returns."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import show

if TYPE_CHECKING:
    from simmerge_hub.merger import Preflight


def check(*, recipe: str, threads: int | None, as_json: bool) -> None:
    """`simmerge-hub check`; exit code 1 if the merge cannot be done."""
    from simmerge_hub.merger import check as look
    from simmerge_hub.recipe import load
    from simmerge_hub.weights.alignment.align import refuse_rejections

    with show.status("reading headers"):
        found = look(load(recipe)[0], threads=threads)
    if as_json:
        show.data(_preflight(found))
    else:
        show.preflight(found)
    refuse_rejections(found.layout.alignment)


def _preflight(found: "Preflight") -> dict[str, Any]:
    return {
        "fits": not found.rejected,
        "tensors": len(found.layout.entries),
        "rejected": [asdict(each) for each in found.rejected],
        "notes": list(found.layout.notes),
        "inputs": [asdict(need) for need in found.needs],
        "dtype": found.layout.recipe.dtype,
        "output": found.output,
        "download": found.download,
        "disk": found.disk,
        "disk_evicting": found.disk_evicting,
        "memory": found.memory,
        "seconds": round(found.seconds, 3),
        "threads": found.threads,
    }


def export(*, recipe: str, to: str) -> None:
    """`simmerge-hub recipe export`."""
    from simmerge_hub.recipe import load, mergekit

    found, _ = load(recipe)
    print(mergekit.write(found) if to == "mergekit" else found.to_yaml(), end="")


def merge(*, recipe: str, output: str, as_json: bool, **options: Any) -> None:
    """`simmerge-hub merge`; `options` are those of the verb."""
    with show.progress("merging") as step:
        from simmerge_hub.publishing.verbs import merge as run

        report = run(recipe, output, progress=step, **options)
    if as_json:
        show.data(
            {
                "folder": str(report.folder),
                "tensors": report.tensors,
                "bytes": report.size,
                "seconds": round(report.seconds, 3),
                "versions": dict(report.versions),
                "notes": list(report.notes),
            }
        )
        return
    for decided in report.notes:
        show.note(f"note: {decided}")
    show.note(
        f"{report.tensors} tensors, {report.size / 1e6:,.1f} MB in {report.seconds:.1f} s "
        f"-> {report.folder}"
    )
    show.note(f"next: simmerge-hub push {report.folder} org/name")


def push(*, folder: str, repo_id: str, private: bool, create_pr: bool, as_json: bool) -> None:
    """`simmerge-hub push`."""
    from simmerge_hub.publishing.verbs import push as send

    commit = send(folder, repo_id, private=private, create_pr=create_pr)
    if as_json:
        show.data(asdict(commit))
        return
    show.note(f"pushed in one commit, {commit.oid[:12]}: {commit.url}")


def operators(*, as_json: bool) -> None:
    """`simmerge-hub operators`."""
    from simmerge_hub.operators import OPERATORS

    if as_json:
        show.data(
            [
                {
                    "name": o.name,
                    "summary": o.summary,
                    "space": o.space,
                    "models": o.models,
                    "parameters": json.loads(json.dumps(dict(o.parameters))),
                    "paper": o.paper,
                }
                for o in OPERATORS.values()
            ]
        )
        return
    show.operators(OPERATORS.values())
