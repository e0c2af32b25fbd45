"""predictor train, push."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simmerge_hub.cli import arguments, show
from simmerge_hub.cli.learning import tables
from simmerge_hub.errors import PredictorError


def options(commands: Any) -> None:
    """Add the commands of `simmerge-hub predictor`."""
    verbs = arguments.group(commands, "predictor", "train and publish predictors of utilities")
    _train(verbs)
    _push(verbs)


def _train(verbs: Any) -> None:
    command = arguments.command(verbs, "train", train, "train a predictor on measured outcomes")
    command.add_argument(
        "outcomes", nargs="+", metavar="OUTCOMES", help="what zoo measure wrote; of several zoos"
    )
    command.add_argument(
        "--features",
        required=True,
        action="append",
        metavar="FILE",
        help="what zoo features wrote; once for each table of outcomes, in their order",
    )
    command.add_argument(
        "--merges", metavar="FILE", help="measured merges of three models and more (.jsonl)"
    )
    command.add_argument("-o", "--output", required=True, metavar="FILE", help="predictor (.json)")
    arguments.json(command)


def _push(verbs: Any) -> None:
    command = arguments.command(
        verbs, "push", push, "push a predictor and a card about it in one commit"
    )
    command.add_argument(
        "file", metavar="FILE", help="what predictor train wrote, or the folder of learn"
    )
    command.add_argument("repo_id", metavar="REPO", help="org/name")
    arguments.publishing(command)
    arguments.json(command)


def train(
    *,
    outcomes: Sequence[str],
    features: Sequence[str],
    merges: str | None,
    output: str,
    as_json: bool,
) -> None:
    """`simmerge-hub predictor train`."""
    if len(outcomes) != len(features):
        raise PredictorError(
            f"{len(outcomes)} tables of outcomes and {len(features)} of features",
            hint="give --features once for each table of outcomes, in the same order",
        )
    arguments.check_made(output, "predictor", file="predictor.json")
    from simmerge_hub.selector.predictor import archive
    from simmerge_hub.selector.tables.features import load_features
    from simmerge_hub.selector.tables.merges import load_merges
    from simmerge_hub.selector.tables.outcomes import load_outcomes
    from simmerge_hub.selector.training.train import train as fit

    with show.status("training"):
        predictor = fit(
            [
                (load_outcomes(Path(measured)), load_features(Path(described)))
                for measured, described in zip(outcomes, features, strict=True)
            ],
            merges=load_merges(Path(merges)) if merges else None,
        )
        archive.save(predictor, Path(output))
    if as_json:
        show.data(dict(predictor.report))
    else:
        tables.report(predictor.report)
        show.note(f"written to {output}")


def push(*, file: str, repo_id: str, private: bool, create_pr: bool, as_json: bool) -> None:
    """`simmerge-hub predictor push`."""
    from simmerge_hub.publishing.predictors import push_predictor

    with show.status("publishing"):
        commit = push_predictor(file, repo_id, private=private, create_pr=create_pr)
    if as_json:
        show.data(asdict(commit))
        return
    show.commit(commit)
