"""check, merge, verify, push, recipe, operators: call the verb, show what it returns."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import arguments, results, show
from simmerge_hub.units import spell_bytes

if TYPE_CHECKING:
    from simmerge_hub.merger import Preflight
    from simmerge_hub.publishing.licenses.verdict import Licence

RECIPE = "plan.yaml, a recipe (ours or mergekit's), or a merged model on the Hub"


def options(commands: Any) -> None:
    """Add these commands."""
    _check(commands)
    _merge(commands)
    _verify(commands)
    _push(commands)
    _export(arguments.group(commands, "recipe", "translate recipes"))
    arguments.json(arguments.command(commands, "operators", operators, "list the merge operators"))


def _check(commands: Any) -> None:
    command = arguments.command(
        commands, "check", check,
        "say what a merge would do and cost, or why it cannot be done; reads no weight",
    )  # fmt: skip
    command.add_argument("recipe", metavar="RECIPE", help=RECIPE)
    arguments.threads(command)
    arguments.json(command)


def _merge(commands: Any) -> None:
    command = arguments.command(commands, "merge", merge, "run a plan or recipe, once")
    command.add_argument("recipe", metavar="RECIPE", help=RECIPE)
    command.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to make")
    command.add_argument("--overwrite", action="store_true", help="replace DIR when done")
    arguments.threads(command)
    command.add_argument(
        "--evict", action="store_true", help="delete downloaded shards as soon as they are merged"
    )
    arguments.yes(command)
    command.add_argument(
        "--no-fsync", action="store_false", dest="durable", help="leave flushing to the system"
    )
    arguments.json(command)


def _verify(commands: Any) -> None:
    command = arguments.command(
        commands, "verify", verify, "say which files of a merge are not those that it wrote"
    )
    command.add_argument("reference", metavar="MERGED", help=f"a merge: {arguments.REFERENCE}")
    arguments.json(command)


def _push(commands: Any) -> None:
    command = arguments.command(commands, "push", push, "push a merge and its card in one commit")
    command.add_argument("folder", metavar="DIR", help="what merge made")
    command.add_argument("repo_id", metavar="REPO", help="org/name")
    arguments.publishing(command)
    command.add_argument("--revision", metavar="BRANCH", help="default: main; made if it is new")
    command.add_argument(
        "--license",
        metavar="IDENTIFIER",
        help="the merge's licence; needed where none fits all parents",
    )
    command.add_argument("--message", default="", metavar="TEXT", help="the commit's first line")
    command.add_argument(
        "--force",
        action="store_true",
        help="push files that are not those the merge wrote; the card says which",
    )
    arguments.json(command)


def _export(verbs: Any) -> None:
    command = arguments.command(verbs, "export", export, "print a recipe in a tool's format")
    command.add_argument("recipe", metavar="RECIPE", help=RECIPE)
    command.add_argument(
        "--to", choices=["simmerge", "mergekit"], required=True, help="the format to write"
    )


def check(*, recipe: str, threads: int | None, as_json: bool) -> None:
    """`simmerge-hub check`; exit code 1 if the merge cannot be done."""
    from simmerge_hub.publishing.verbs import check as look
    from simmerge_hub.weights.alignment.align import refuse_rejections

    with show.status("reading headers"):
        preflight = look(recipe, threads=threads)
    if as_json:
        show.data(_preflight(preflight))
    else:
        results.preflight(preflight)
        results.licence(_licence(preflight))
    refuse_rejections(preflight.layout.alignment)


def _licence(plan: "Preflight") -> "Licence":
    from simmerge_hub.publishing.licenses.verdict import license_of

    return license_of({name: each.card for name, each in plan.layout.checkpoints.items()})


def _preflight(plan: "Preflight") -> dict[str, Any]:
    return {
        "licence": asdict(_licence(plan)),
        "fits": not plan.rejected,
        "tensors": len(plan.layout.entries),
        "rejected": [asdict(each) for each in plan.rejected],
        "notes": list(plan.layout.notes),
        "inputs": [asdict(need) for need in plan.needs],
        "dtype": plan.layout.recipe.dtype,
        "output": plan.output,
        "download": plan.download,
        "disk": plan.disk,
        "disk_evicting": plan.disk_evicting,
        "memory": plan.memory,
        "seconds": round(plan.seconds, 3),
        "threads": plan.threads,
        "runs": asdict(plan.passes) if plan.passes else None,
    }


def export(*, recipe: str, to: str) -> None:
    """`simmerge-hub recipe export`."""
    from simmerge_hub.recipe import load, mergekit

    recorded, _ = load(recipe)
    print(mergekit.write(recorded) if to == "mergekit" else recorded.to_yaml(), end="")


def _say_before(recipe: str, threads: int | None, yes: bool) -> None:
    """The licence of the merge and a question before much is downloaded; adapters are small."""
    from simmerge_hub.merger import check
    from simmerge_hub.recipe import load

    recorded, _ = load(recipe)
    if recorded.output == "adapter":
        return
    with show.status("reading headers"):
        preflight = check(recorded, threads=threads)
    show.note(f"licence: {_licence(preflight).verdict}")
    show.ask_before(preflight.download, "", yes=yes)


def merge(*, recipe: str, output: str, as_json: bool, yes: bool = False, **settings: Any) -> None:
    """`simmerge-hub merge`; `settings` are those of the verb."""
    _say_before(recipe, settings.get("threads"), yes)
    with show.progress("merging") as step:
        from simmerge_hub.publishing.verbs import merge as run

        report = run(recipe, output, progress=step, **settings)
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
    for decision in report.notes:
        show.note(f"note: {decision}")
    show.note(
        f"{report.tensors} tensors, {spell_bytes(report.size)} in {report.seconds:.1f} s "
        f"-> {report.folder}"
    )
    show.note(f"next: simmerge-hub push {report.folder} org/name")


def verify(*, reference: str, as_json: bool) -> None:
    """`simmerge-hub verify`; exit code 1 if a file is not what the merge wrote."""
    from simmerge_hub.errors import OutputError
    from simmerge_hub.publishing.verify import verify as compare

    with show.status("reading files"):
        seen = compare(reference)
    if as_json:
        show.data({"holds": seen.holds, **asdict(seen)})
    else:
        results.verification(seen)
    if not seen.holds:
        raise OutputError(
            f"{seen.name} is not what the merge wrote: {seen.explain()}",
            hint="redo the merge, from the recipe in it or on its card",
        )


def push(*, folder: str, repo_id: str, as_json: bool, **settings: Any) -> None:
    """`simmerge-hub push`; `settings` are those of the verb."""
    from simmerge_hub.publishing.verbs import push as send

    commit = send(folder, repo_id, **settings)
    if as_json:
        show.data(asdict(commit))
        return
    show.commit(commit)


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
    results.operators(OPERATORS.values())
