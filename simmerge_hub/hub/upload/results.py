"""Measured scores -> the model's card, as evaluation results (`model-index`), in one commit.

A result that was measured before in the same way is replaced; whatever else the card says stays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index
from huggingface_hub.utils import yaml_dump

from simmerge_hub.documents import DocumentError, read_yaml, split_card
from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.files.cached import LARGEST_SMALL, read_text
from simmerge_hub.hub.files.location import FileEntry, Location
from simmerge_hub.hub.reference import ModelRef, resolve_files
from simmerge_hub.hub.upload.attachments import attach
from simmerge_hub.hub.upload.publish import Commit
from simmerge_hub.units import spell_bytes
from simmerge_hub.version import __version__

HARNESS_URL = "https://github.com/EleutherAI/lm-evaluation-harness"
MEASURED_BY = "measured by simmerge-hub"
"""How the source of a result begins that was measured, not copied from somewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredScore:
    """One score as a card states it.

    Args:
        task: its name in the harness.
        dataset: the dataset on the Hub that it asks from; "" where it has none.
        metric: of which `value` is the value, 0 to 1.
        value: the score.
        arguments: how it was measured, for whoever measures again.
        harness: version of lm-evaluation-harness.
    """

    task: str
    dataset: str
    metric: str
    value: float
    arguments: dict[str, Any]
    harness: str


def attach_scores(
    repo: str,
    scores: Sequence[MeasuredScore],
    *,
    edit: Callable[[str], Mapping[str, str]] = lambda text: {"README.md": text},
) -> Commit:
    """Put scores on the card of a model on the Hub, marked as measured; a pull request if one may
    not write there.

    Args:
        repo: `org/name`.
        scores: what was measured.
        edit: what becomes of the card's text with the scores in its front matter: `README.md`,
            and texts of other files that belong to it, by name.

    Raises:
        CheckpointError: the card's front matter cannot be read.
        PushFailed: it was refused; no commit was made.
    """
    location, files = resolve_files(ModelRef(repo=repo))
    updated = dict(edit(add_scores(_read_card(location, files), repo, scores)))
    with TemporaryDirectory() as staging:
        card = Path(staging, "README.md")
        card.write_text(updated.pop("README.md"), "utf-8")
        names = ", ".join(dict.fromkeys(score.task for score in scores))
        message = f"Measured scores: {names}"
        beside = {name: content.encode() for name, content in updated.items()}
        return attach(card, repo, "README.md", beside=beside, message=message)


def add_scores(text: str, name: str, scores: Sequence[MeasuredScore]) -> str:
    """The text of a card with these scores among its evaluation results.

    Raises:
        CheckpointError: its front matter cannot be read.
    """
    front, body = _split(text, name)
    stated = front.get("model-index")
    entries = stated if isinstance(stated, list) and stated else [{"name": name}]
    first = entries[0] if isinstance(entries[0], dict) else {"name": name}
    results = first.get("results")
    fresh = _entries(name, scores)
    replaced = {_key(each) for each in fresh}
    kept = [r for r in results if _key(r) not in replaced] if isinstance(results, list) else []
    front["model-index"] = [{**first, "results": [*kept, *fresh]}, *entries[1:]]
    return compose_card(front, body)


def compose_card(front: Mapping[str, Any], body: str) -> str:
    """The text of a card, its front matter as huggingface_hub writes it."""
    return f"---\n{yaml_dump(front, sort_keys=False)}---\n{body}"


def _read_card(location: Location, files: Mapping[str, FileEntry]) -> str:
    if "README.md" in files and files["README.md"].size > LARGEST_SMALL:
        raise CheckpointError(
            f"the card of {location.name} is larger than {spell_bytes(LARGEST_SMALL)}",
            hint="shorten its README.md",
        )
    return read_text(location, files, "README.md")


def _split(text: str, name: str) -> tuple[dict[str, Any], str]:
    """The front matter of a card, and what follows."""
    head, body = split_card(text)
    try:
        front = read_yaml(head)
    except DocumentError as error:
        raise CheckpointError(
            f"the card of {name} cannot be read: {error}",
            hint="correct the lines between the first two `---` of its README.md",
        ) from error
    return front if isinstance(front, dict) else {}, body


def _entries(name: str, scores: Sequence[MeasuredScore]) -> list[dict[str, Any]]:
    """As huggingface_hub writes them."""
    results = [
        EvalResult(
            task_type="text-generation",
            task_name="Text generation",
            dataset_type=score.dataset or score.task,
            dataset_name=score.task,
            metric_type=score.metric,
            metric_name=score.metric,
            metric_value=round(score.value, 6),
            metric_args=score.arguments,
            source_name=f"{MEASURED_BY} {__version__}, lm-evaluation-harness {score.harness}",
            source_url=HARNESS_URL,
        )
        for score in scores
    ]
    return [r for entry in eval_results_to_model_index(name, results) for r in entry["results"]]


def _key(result: Any) -> tuple[str, ...]:
    """What a result is of: dataset, its name, metrics; only measured ones are ever replaced."""
    if not isinstance(result, dict):
        return ()
    source, dataset = result.get("source"), result.get("dataset")
    measured = isinstance(source, dict) and str(source.get("name")).startswith(MEASURED_BY)
    if not measured or not isinstance(dataset, dict):
        return ()
    metrics = [m.get("type") for m in result.get("metrics", []) if isinstance(m, dict)]
    return (str(dataset.get("type")), str(dataset.get("name")), *map(str, metrics))
