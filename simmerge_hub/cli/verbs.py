"""check, merge, recipe, operators: call the verb, show what it returns."""

import argparse
import json
import shlex
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import arguments, results, show
from simmerge_hub.cli.trust import say_duties
from simmerge_hub.units import spell_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simmerge_hub.hub.resolve import Checkpoint
    from simmerge_hub.hub.upload.publish import Commit
    from simmerge_hub.merger import MergeReport, Preflight
    from simmerge_hub.progress import Progress
    from simmerge_hub.publishing.licenses.verdict import Licence
    from simmerge_hub.publishing.trust.redo import Redo

RECIPE = "plan.yaml, a recipe (ours or mergekit's), or a merged model on the Hub"


def options(commands: Any) -> None:
    """Add these commands."""
    _check(commands)
    _merge(commands)
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
    command.add_argument("-o", "--output", metavar="DIR", help="folder to make")
    command.add_argument("--overwrite", action="store_true", help="replace DIR when done")
    command.add_argument("--push", metavar="REPO", help="push it to org/name, in one commit")
    command.add_argument(
        "--stream", action="store_true",
        help="with --push: send shards while they are made; two lie here at most, and no DIR is "
        "made (DIR.partial holds them if it is named)",
    )  # fmt: skip
    arguments.publishing(command)
    arguments.public(command)
    command.add_argument(
        "--license", metavar="IDENTIFIER", help="with --push: where none fits all parents"
    )
    arguments.threads(command)
    command.add_argument(
        "--evict", action="store_true", help="delete downloaded shards as soon as they are merged"
    )
    arguments.ray(command, "split it over")
    arguments.yes(command)
    command.add_argument(
        "--no-fsync", action="store_false", dest="durable", help="leave flushing to the system"
    )
    arguments.json(command)
    command.set_defaults(check=partial(_check_merge, command))


def _check_merge(command: argparse.ArgumentParser, options: dict[str, Any]) -> None:
    """Where the merge goes: to a folder, to the Hub, or to both."""
    if options["stream"] and not options["push"]:
        command.error("--stream sends the merge somewhere: add --push org/name")
    if not options["output"] and not options["stream"]:
        command.error("say where to: -o DIR, or --push org/name --stream")
    if options["stream"] and options["overwrite"]:
        command.error("--stream makes no folder that --overwrite would replace")
    if options["ray"]:
        given = [f"--{name}" for name in ("stream", "evict", "threads") if options[name]]
        if given:
            command.error(f"{given[0]} is for a merge on one machine, and --ray names a cluster")
    given = [name for name in ("private", "public", "create_pr", "license") if options[name]]
    if given and not options["push"]:
        command.error("--private, --public, --pr and --license go with --push")


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
    return _licence_of(plan.layout.checkpoints)


def _licence_of(checkpoints: "Mapping[str, Checkpoint]") -> "Licence":
    from simmerge_hub.publishing.licenses.verdict import license_of

    return license_of({name: each.card for name, each in checkpoints.items()})


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


def merge(
    *,
    recipe: str,
    output: str | None,
    as_json: bool,
    yes: bool = False,
    push: str | None = None,
    stream: bool = False,
    private: bool = False,
    public: bool = False,
    create_pr: bool = False,
    license: str | None = None,
    **settings: Any,
) -> None:
    """`simmerge-hub merge`; `settings` are those of the verb."""
    from simmerge_hub.publishing.trust.redo import compare_redo, read_recorded

    goal = {"private": private, "public": public, "create_pr": create_pr, "license": license}
    if push and not stream:  # which looks before it begins
        _check_push(recipe, push, goal)
    _say_before(recipe, settings.get("threads"), yes)
    recorded = read_recorded(recipe)
    commit = None
    with show.progress("merging") as step:
        from simmerge_hub.publishing import verbs

        if push and stream:
            report, commit = _stream(recipe, push, goal, output, step, settings)
        else:
            report = verbs.merge(recipe, str(output), progress=step, say=show.note, **settings)
    redo = compare_redo(recorded, report) if recorded else None
    folder = "" if stream else str(report.folder)
    if not as_json or (push and not commit):  # who is refused knows what is there
        _say_merged(report, folder)
    if push and not commit:
        commit = verbs.push(report.folder, push, **goal)
    if as_json:
        pushed = {"commit": asdict(commit) if commit else None}
        told = {"duties": _duties(report)} if commit else {}
        show.data({**_report(report, redo, folder), **pushed, **told})
        return
    if recorded and redo:
        _say_redo(recorded.name, redo)
    if commit:
        show.commit(commit)
        say_duties(_duties(report), str(push))
    elif not redo:
        needed = " --license IDENTIFIER" if _licence_of(report.checkpoints).conflicts else ""
        program = results.name_program(report.recipe)
        show.note(f"next: {program} push {shlex.quote(folder)} org/name{needed}")


def _duties(report: "MergeReport") -> tuple[str, ...]:
    """What the licences of a merge ask of whoever has pushed it, as its card has it."""
    from simmerge_hub.publishing.licenses.duties import list_duties

    return list_duties(_licence_of(report.checkpoints))


def _say_merged(report: "MergeReport", folder: str) -> None:
    """What was made, and all that was decided on the way."""
    if report.recipe.output == "adapter":  # of models it is said before
        show.note(f"licence: {_licence_of(report.checkpoints).verdict}")
    for decision in report.notes:
        show.note(f"note: {decision}")
    show.note(_made(report, f" -> {folder}" if folder else ""))


def _check_push(recipe: str, repo_id: str, goal: dict[str, Any]) -> None:
    from simmerge_hub.publishing.target import Target
    from simmerge_hub.publishing.verbs import check_push

    check_push(recipe, Target(repo_id=repo_id, **goal))


def _stream(
    recipe: str,
    repo_id: str,
    goal: dict[str, Any],
    output: str | None,
    step: "Progress",
    settings: dict[str, Any],
) -> "tuple[MergeReport, Commit]":
    from simmerge_hub.publishing.target import Target
    from simmerge_hub.publishing.verbs import merge_to_hub

    return merge_to_hub(
        recipe,
        Target(repo_id=repo_id, **goal),
        folder=output,
        threads=settings.get("threads"),
        evict=settings.get("evict", False),
        progress=step,
    )


def _made(report: "MergeReport", where: str) -> str:
    over = f" ({report.taken_over} were made before)" if report.taken_over else ""
    size, time = spell_bytes(report.size), f"{report.seconds:.1f} s"
    return f"{report.tensors} tensors{over}, {size} in {time}{where}"


def _report(report: "MergeReport", redo: "Redo | None", folder: str) -> dict[str, Any]:
    return {
        "folder": folder or None,
        "tensors": report.tensors,
        "bytes": report.size,
        "seconds": round(report.seconds, 3),
        "versions": dict(report.versions),
        "notes": list(report.notes),
        "redo": {**asdict(redo), "same": redo.same} if redo else None,
    }


def _say_redo(name: str, redo: "Redo") -> None:
    """Whether a redone merge has the bytes of the first."""
    if redo.same:
        show.note(f"same bytes as {name}: all {redo.files.match} files")
        return
    show.note(f"not the bytes of {name}: {redo.files.explain()} ({redo.files.match} are the same)")
    for reason in redo.reasons:
        show.note(f"  {reason}")


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
