"""What measuring and learning from a catalogue of 7B models takes, from rates that were measured.

    python benchmarks/learning_cost.py      # at once; writes learning_cost.json

Merges and signatures are scaled from the committed measurements of this repository by bytes or by
parameters: seconds of two CPU cores. Running a model on prompts was measured on a CPU, with 270 M
parameters; nobody here has a GPU, so hours of one are given for several speeds, tokens read and
written a second, of which the reader knows his own. How many pairs are needed is the learning curve
of `selection.py`.
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILE = HERE / "learning_cost.json"
PARAMETERS, BYTES = 7.6e9, 2
"""Of a model, and of each parameter as it is stored."""
MODELS, TASKS, ARMS = 20, 3, 6
PAIRS = (5, 10, 33, 70, 160)
"""The learning curve's rows, two to a pair, as far as so many models make pairs."""
PROMPTS, TOKENS = 200, 400
"""Prompts of a task, and tokens of each with its answer."""
SPEEDS = (2_000, 10_000, 50_000)
"""Tokens a second of a GPU: assumed, not measured."""
LARGEST = "3B"
"""What the merges are scaled from."""


def main() -> None:
    """Write the JSON."""
    rates = read_rates()
    result = {
        "rates": rates,
        "catalogue": {
            "models": MODELS, "tasks": TASKS, "arms": ARMS, "prompts": PROMPTS, "tokens": TOKENS,
            "model_gb": gigabytes(1), "download_gb": gigabytes(MODELS + 1),
            "scratch_gb": gigabytes(1),
        },
        "by pairs": [estimate(pairs, rates) for pairs in PAIRS],
    }  # fmt: skip
    FILE.write_text(json.dumps(result, indent=1) + "\n")


def read_rates() -> dict[str, float]:
    """Rates of this repository's own measurements."""
    merges = _read("merge_memory")["memory"][LARGEST]
    signing = _read("signing")
    parameters = signing["model"]["parameters"]
    return {
        "linear, seconds a GB written": round(merges["linear"]["seconds"] / 6, 2),
        "ties, seconds a GB written": round(merges["ties"]["seconds"] / 6, 2),
        "a pair's features, seconds": _read("signature_cost")["pairs"]["7B"]["median_ms"] / 1000,
        "CPU, tokens a second at 7B": round(
            signing["resident"]["after"]["tokens_per_second"] * parameters / PARAMETERS, 2
        ),
    }


def estimate(pairs: int, rates: dict[str, float]) -> dict[str, Any]:
    """What so many pairs take with every arm."""
    merges = pairs * ARMS
    evaluations = (MODELS + 1 + merges) * TASKS
    tokens = evaluations * PROMPTS * TOKENS
    slowest, fastest = (rates[f"{name}, seconds a GB written"] for name in ("ties", "linear"))
    return {
        "pairs": pairs,
        "rows": 2 * pairs,
        "merges": merges,
        "evaluations": evaluations,
        "million_tokens": round(tokens / 1e6, 1),
        "merge_hours": [round(merges * gigabytes(1) * s / 3600, 1) for s in (fastest, slowest)],
        "gpu_hours": {str(speed): round(tokens / speed / 3600, 1) for speed in SPEEDS},
        "cpu_hours": round(tokens / rates["CPU, tokens a second at 7B"] / 3600),
    }


def gigabytes(models: int) -> float:
    """Of so many models."""
    return round(models * PARAMETERS * BYTES / 1e9, 1)


def _read(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text())


if __name__ == "__main__":
    main()
