"""The prompts of our own tasks, made where the harness asks for them: no file, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simmerge_hub.zoo.tasks import task

if TYPE_CHECKING:
    from datasets import Dataset

PROMPTS = 200
"""As many as the scores on the nano models' cards are of."""


def load_exam(*, path: str, **more: Any) -> dict[str, Dataset]:
    """The evaluation prompts of a nano task; none of them is trained on or probed with.

    Args:
        path: `domain/variant`.
        more: what else the harness hands over: the task's metadata.

    Returns:
        {"test": columns `prompt` and `answer`}.
    """
    from datasets import Dataset

    domain, variant = path.split("/", 1)
    examples = task(domain, variant).examples("evaluation", PROMPTS, seed=0)
    columns = {
        "prompt": [each.prompt for each in examples],
        "answer": [each.answer for each in examples],
    }
    return {"test": Dataset.from_dict(columns)}
