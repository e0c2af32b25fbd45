"""zoo build, publish, measure, features; predictor train."""

from importlib.resources import files
from pathlib import Path

from simmerge_hub.cli import show


def build(*, recipe: str, output: str) -> None:
    """`simmerge-hub zoo build`."""
    from simmerge_hub.zoo.build import build as train

    with show.progress("training") as step:
        manifest = train(
            Path(recipe),
            Path(output),
            progress=lambda s: step(f"{s.model}: {s.state}", s.number, s.total),
        )
    show.scores(manifest)


def publish(*, namespace: str, folder: str | None) -> None:
    """`simmerge-hub zoo publish`."""
    from simmerge_hub.zoo.publish import publish as send

    place = Path(folder) if folder else packaged()
    with show.status(f"publishing to {namespace}") as say:
        commits = send(place, namespace, progress=lambda commit: say(commit.repo))
    for commit in commits:
        show.note(f"{commit.repo} {commit.oid[:12]}")


def measure(*, folder: str, output: str) -> None:
    """`simmerge-hub zoo measure`."""
    from simmerge_hub.selector.tables.outcomes import save_outcomes
    from simmerge_hub.zoo.measuring.outcomes import measure_outcomes

    target = Path(output)
    unfinished = target.with_name(f"{target.name}.partial")
    with show.progress("merging and evaluating pairs") as step:
        outcomes = measure_outcomes(
            Path(folder), resume=unfinished, progress=lambda done, total: step("", done, total)
        )
    save_outcomes(outcomes, target)
    unfinished.unlink()
    show.gates(outcomes.provenance["gates"])


def features(*, folder: str, outcomes: str, output: str) -> None:
    """`simmerge-hub zoo features`."""
    from simmerge_hub.selector.tables.features import save_features
    from simmerge_hub.selector.tables.outcomes import load_outcomes
    from simmerge_hub.zoo.measuring.features import zoo_features

    measured = load_outcomes(Path(outcomes))
    with show.progress("features") as step:
        table = zoo_features(Path(folder), measured, progress=step)
    save_features(table, Path(output))
    show.note(f"{len(table.rows)} pairs x {len(table.names)} features -> {output}")


def train(*, outcomes: str, features: str, merges: str | None, output: str, as_json: bool) -> None:
    """`simmerge-hub predictor train`."""
    from simmerge_hub.selector.predictor import archive
    from simmerge_hub.selector.tables.features import load_features
    from simmerge_hub.selector.tables.merges import load_merges
    from simmerge_hub.selector.tables.outcomes import load_outcomes
    from simmerge_hub.selector.training.train import train as fit

    with show.status("training"):
        predictor = fit(
            load_outcomes(Path(outcomes)),
            load_features(Path(features)),
            merges=load_merges(Path(merges)) if merges else None,
        )
        archive.save(predictor, Path(output))
    if as_json:
        show.data(dict(predictor.report))
    else:
        show.report(predictor.report)
        show.note(f"written to {output}")


def packaged() -> Path:
    """The zoo in the package."""
    return Path(str(files("simmerge_hub.zoo").joinpath("nano")))
