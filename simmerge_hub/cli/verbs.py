"""plan, merge, push, operators: call the verb, show what it returns."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import show
from simmerge_hub.errors import OutputError

if TYPE_CHECKING:
    from simmerge_hub.merger import Preflight


def plan(
    *,
    models: Sequence[str],
    base: str | None,
    experts: Sequence[tuple[str, str]],
    probes: Sequence[tuple[str, str]],
    output: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """`simmerge-hub plan`; `options` are those of the verb."""
    if output and not Path(output).parent.is_dir():
        raise OutputError(
            f"there is no folder {Path(output).parent} to write the plan in",
            hint=f"make it first: mkdir -p {Path(output).parent}",
        )
    with show.status("planning") as say:
        from simmerge_hub.planning.plan import plan as predict

        made = predict(
            *models,
            base=base,
            experts=dict(experts),
            probes=dict(probes),
            progress=say,
            note=show.note,
            **options,
        )
    if output:
        Path(output).write_text(made.to_yaml(), encoding="utf-8")
    if as_json:
        show.data(made.to_dict())
        return
    show.plan(made)
    if output:
        show.note(f"written to {output}; next: simmerge-hub merge {output} -o merged")


def check(*, recipe: str, threads: int | None, as_json: bool) -> None:
    """`simmerge-hub check`; exit code 1 if the merge cannot be done."""
    from simmerge_hub.merger import check as look
    from simmerge_hub.recipe import load
    from simmerge_hub.weights.align import refuse_rejected

    with show.status("reading headers"):
        found = look(load(recipe)[0], threads=threads)
    if as_json:
        show.data(_preflight(found))
    else:
        show.preflight(found)
    refuse_rejected(found.layout.alignment)


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
