"""A recipe that others are variations of."""

from typing import Any

import yaml

from simmerge_hub.recipe import Recipe, parse

GOOD = """\
simmerge: 1
base: {model: org/base, commit: abc}
models:
- {model: org/a, commit: def}
- {model: org/b}
steps:
- operator: ties
  models: [org/a, org/b]
  parameters: {density: 0.2, weights: [1, 2.5]}
dtype: bfloat16
seed: 3
"""


def read(text: str, **how: Any) -> Recipe:
    return parse(text, "plan.yaml", **how)[0]


def change(**fields: Any) -> str:
    """The good recipe with some top-level keys replaced, or removed by None."""
    data = yaml.safe_load(GOOD) | fields
    return yaml.safe_dump({k: v for k, v in data.items() if v is not None})


def step(**fields: Any) -> str:
    return change(steps=[{"operator": "linear", "models": ["org/a", "org/b"]} | fields])
