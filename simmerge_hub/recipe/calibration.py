"""What a merge that looks at activations feeds each model: unlabelled texts, pinned by digest."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = (".jsonl", ".txt")
"""Endings of sources that are files of this machine: their folders are never published."""
ANSWER_TOKENS = 16
"""Tokens of a model's own answer that follow each prompt at most, where nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """One set of texts: where it is, and the sha256 of its prompts ("" until it was read)."""

    source: str
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The calibration texts of a merge.

    Args:
        prompts: model name -> its sets of prompts.
        answers: tokens of the model's own greedy answer that are appended to each prompt at most.
    """

    prompts: Mapping[str, tuple[Prompts, ...]]
    answers: int = ANSWER_TOKENS


def list_prompt_files(calibration: Calibration | None) -> list[str]:
    """The names of the files of this machine that prompts are read from, each once."""
    sets = calibration.prompts.values() if calibration else ()
    sources = [each.source for some in sets for each in some if each.source.endswith(FILES)]
    return list(dict.fromkeys(Path(source).name for source in sources))


def to_data(calibration: Calibration, published: bool) -> dict[str, Any]:
    """As YAML has it; `published` leaves out folders of this machine."""

    def entry(prompts: Prompts) -> dict[str, str]:
        source = prompts.source
        if published and source.endswith(FILES):
            source = Path(source).name
        return {"source": source} | ({"digest": prompts.digest} if prompts.digest else {})

    sets = {name: [entry(each) for each in some] for name, some in calibration.prompts.items()}
    return {"answers": calibration.answers, "prompts": sets}
