"""What a search says of each merge."""

from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.cli.learning.search import _line, run
from simmerge_hub.errors import PredictorError, RequestError
from simmerge_hub.learning.searching.attempts import Attempt

MODELS = ("org/math-7b", "org/code-7b")


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"operator": "linear"}, "average, 70 % math-7b + 30 % code-7b"),
        (
            {"operator": "regmean++", "regmean++.alpha": 0.99},
            "RegMean++, 70 % math-7b + 30 % code-7b, alpha 0.99",
        ),
        (
            {"operator": "ties", "ties.density": 0.2, "ties.scale": 1.5},
            "TIES (density 0.2, scale 1.5), 70 % math-7b + 30 % code-7b",
        ),
    ],
)
def test_a_merge_is_called_as_a_plan_calls_it(params: dict[str, object], name: str) -> None:
    params |= {"weight.0": 0.7, "weight.1": 0.3}
    whole = Attempt(params=params, few=0.25, score=0.5, cost=1.25)
    assert _line(whole, MODELS) == f"{name}: 0.500"
    stopped = Attempt(params=params, few=0.25, score=None, cost=0.25)
    assert _line(stopped, MODELS) == f"{name}: 0.250 on a quarter of the prompts; stopped"
    failed = Attempt(params=params, few=None, score=None, cost=1.0, failed="no room")
    assert _line(failed, MODELS) == f"{name}: failed: no room"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"probes": [("cod", "prompts.txt")]}, "cod, which is none of --tasks"),
        ({"budget": 1}, "pays for no merge"),
    ],
)
def test_what_would_end_a_search_or_mislead_it_is_told_at_once(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """The models had been evaluated by then, and one task of two was counted twice."""
    asked = {"tasks": [("code", "nano_code")], "budget": 4, "output": str(tmp_path / "searched")}
    with pytest.raises(RequestError, match=said):
        run(models=["no/model", "no/other"], **(asked | given))


def test_a_predictor_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    """A search went on without the one that was asked for."""
    with pytest.raises(PredictorError, match="there is no predictor"):
        run(
            models=["no/model", "no/other"], tasks=[("code", "nano_code")], budget=4,
            output=str(tmp_path / "searched"), predictor=str(tmp_path / "predictor.json"),
        )  # fmt: skip
