"""zoo build, publish, measure, features; probes publish."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from simmerge_hub.cli import arguments, results, show
from simmerge_hub.cli.learning import tables

STRIDE = 10
"""Pairs between two lines that say how far a measurement is."""


def options(commands: Any) -> None:
    """Add the commands of `simmerge-hub zoo`, and `simmerge-hub probes`."""
    _zoo(commands)
    _probes(commands)


def _zoo(commands: Any) -> None:
    verbs = arguments.group(commands, "zoo", "build and publish the nano models we train on")
    command = arguments.command(verbs, "build", build, "train a zoo of nano models from its recipe")
    command.add_argument("recipe", metavar="RECIPE", help="a YAML file like recipes/zoo.yaml")
    command.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to fill")
    command = arguments.command(
        verbs, "publish", publish, "push a zoo's models and probes to the Hub"
    )
    command.add_argument("namespace", metavar="ORG", help="where to push them")
    command.add_argument("--dir", dest="folder", metavar="DIR", help="default: the packaged zoo")
    command = arguments.command(
        verbs, "measure", measure, "merge and evaluate every pair of a zoo; write a table"
    )
    command.add_argument("folder", metavar="DIR", help="what zoo build made")
    command.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="outcomes (.jsonl or .jsonl.gz)"
    )
    command.add_argument(
        "--so-far", action="store_true", help="measure nothing; write what was measured until now"
    )
    command = arguments.command(verbs, "features", features, "compute the features of every pair")
    command.add_argument("folder", metavar="DIR", help="what zoo build made")
    command.add_argument("outcomes", metavar="OUTCOMES", help="what zoo measure wrote")
    command.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="table (.jsonl or .jsonl.gz)"
    )
    arguments.dose(command)
    command.add_argument(
        "--cross", action="store_true",
        help="run the mean of every pair too, on the answers of its expert",
    )  # fmt: skip


def build(*, recipe: str, output: str) -> None:
    """`simmerge-hub zoo build`."""
    from simmerge_hub.zoo.build import Step
    from simmerge_hub.zoo.build import build as train

    with show.progress("training") as step:

        def tell(of: Step) -> None:
            step(f"{of.model}: {of.state}", of.number, of.total)
            if of.state in ("finished", "dropped"):
                show.note(f"{of.number}/{of.total} {of.model}: {of.state}")

        manifest = train(Path(recipe), Path(output), progress=tell)
    results.scores(manifest)


def publish(*, namespace: str, folder: str | None) -> None:
    """`simmerge-hub zoo publish`."""
    from simmerge_hub.zoo.publish import publish as send

    place = Path(folder) if folder else nano_folder()
    with show.status(f"publishing to {namespace}") as say:
        commits = send(place, namespace, progress=lambda commit: say(commit.repo))
    for commit in commits:
        show.note(f"{commit.repo} {commit.oid[:12]}")


def measure(*, folder: str, output: str, so_far: bool) -> None:
    """`simmerge-hub zoo measure`."""
    from simmerge_hub.selector.tables.outcomes import save_outcomes
    from simmerge_hub.zoo.measuring.outcomes import measure_outcomes

    arguments.check_made(output, "outcomes", file="outcomes.jsonl")
    target = Path(output)
    journal = target.with_name(f"{target.name}.partial")
    with show.progress("merging and evaluating pairs") as step:

        def tell(done: int, total: int) -> None:
            step("", done, total)
            if not done % STRIDE:
                show.note(f"{done}/{total} pairs")

        outcomes = measure_outcomes(Path(folder), resume=journal, measure=not so_far, progress=tell)
    save_outcomes(outcomes, target)
    tables.gates(outcomes.provenance["gates"])


def features(*, folder: str, outcomes: str, output: str, dose: bool, cross: bool) -> None:
    """`simmerge-hub zoo features`."""
    from simmerge_hub.selector.tables.features import save_features
    from simmerge_hub.selector.tables.outcomes import load_outcomes
    from simmerge_hub.zoo.measuring.features import zoo_features

    arguments.check_made(output, "features", file="features.jsonl")
    measured = load_outcomes(Path(outcomes))
    with show.progress("features") as step:
        table = zoo_features(Path(folder), measured, dose=dose, cross=cross, progress=step)
    save_features(table, Path(output))
    show.note(f"{len(table.rows)} pairs x {len(table.names)} features -> {output}")


def nano_folder() -> Path:
    """The zoo in the package."""
    return Path(str(files("simmerge_hub.zoo").joinpath("nano")))


def _probes(commands: Any) -> None:
    verbs = arguments.group(commands, "probes", "publish our probe prompts")
    command = arguments.command(
        verbs, "publish", publish_probes, "push our prompts of five domains as datasets"
    )
    command.add_argument("namespace", metavar="ORG", help="where to push them")
    command.add_argument("--private", action="store_true", help="if a dataset is new")


def publish_probes(*, namespace: str, private: bool) -> None:
    """`simmerge-hub probes publish`."""
    from simmerge_hub.publishing import probes

    with show.status(f"publishing to {namespace}") as say:
        commits = probes.publish_probes(
            namespace, private=private, progress=lambda commit: say(commit.repo)
        )
    for commit in commits:
        show.note(f"{commit.repo} {commit.oid[:12]}")
