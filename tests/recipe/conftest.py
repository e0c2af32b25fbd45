"""A recipe that others are variations of."""

from typing import Any

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
