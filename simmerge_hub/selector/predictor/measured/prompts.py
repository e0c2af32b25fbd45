"""What merges that see activations reached far from training by the prompts in the package.

Measured by `benchmarks/other_prompts.py` on specialists of a real language model, beside what the
same merges reached by prompts like those that each was taught.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROMPTS = Path(__file__).parent / "prompts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPrompts:
    """Mean shares of the gap that an arm closed over both tasks of a pair.

    Args:
        of: what was merged, in words.
        pairs: how many.
        package: by the prompts in the package for each expert's domain.
        own: by prompts of each expert's own task.
    """

    of: str
    pairs: int
    package: float
    own: float

    def says(self) -> str:
        """Both in words."""
        return (
            f"the prompts are the package's: on {self.pairs} {self.of} it closed "
            f"{self.package:.2f} of the gap by these, {self.own:.2f} by such as each was taught "
            "(--probes TASK=FILE gives those)"
        )


@cache
def read() -> dict[str, ByPrompts]:
    """The outcomes in the package: arm label -> what it reached."""
    entry = json.loads(PROMPTS.read_text())
    return {
        label: ByPrompts(of=entry["of"], pairs=int(entry["pairs"]), **gains)
        for label, gains in entry["gains"].items()
    }
