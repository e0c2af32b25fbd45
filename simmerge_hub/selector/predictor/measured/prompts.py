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
    """Mean shares of the gap that an arm closed over both tasks of a pair of two domains.

    Args:
        pairs: how many.
        package: by the prompts in the package for each expert's domain.
        own: by prompts of each expert's own task.
    """

    pairs: int
    package: float
    own: float

    def says(self) -> str:
        """Both in words."""
        return (
            f"the prompts are the package's: by these it closed {self.package:.2f} on "
            f"{self.pairs} such pairs of two domains, by prompts like those that each was taught "
            f"{self.own:.2f}"
        )


@cache
def read() -> dict[str, ByPrompts]:
    """The outcomes in the package: arm label -> what it reached."""
    entry = json.loads(PROMPTS.read_text())
    return {
        label: ByPrompts(pairs=int(entry["pairs"]), **gains)
        for label, gains in entry["gains"].items()
    }
