"""Scores on cards: marked as measured, measured ones replaced, all else kept."""

import pytest
import yaml
from huggingface_hub import HfApi, ModelCard

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.upload.results import MeasuredScore, add_scores, attach_scores

CARD = """---
license: apache-2.0
model-index:
- name: m
  results:
  - task: {type: text-generation}
    dataset: {type: openai/gsm8k, name: gsm8k}
    metrics:
    - {type: exact_match, value: 0.9}
---
# A model
---
and a line
"""


def score(value: float, metric: str = "exact_match,strict-match") -> MeasuredScore:
    return MeasuredScore(
        task="gsm8k",
        dataset="openai/gsm8k",
        metric=metric,
        value=value,
        arguments={"version": "3", "samples": 100, "limit": 100},
        harness="0.4.13",
    )


def test_what_others_state_stays_and_what_was_measured_is_replaced() -> None:
    once = add_scores(CARD, "org/m", [score(0.25)])
    twice = add_scores(once, "org/m", [score(0.5)])
    front, body = yaml.safe_load(twice.split("---\n")[1]), twice.split("---\n", 2)[2]
    results = front["model-index"][0]["results"]
    assert [r["metrics"][0]["value"] for r in results] == [0.9, 0.5]
    assert results[1]["source"]["name"].startswith("measured by simmerge-hub")
    assert "0.4.13" in results[1]["source"]["name"]
    assert results[1]["metrics"][0]["args"]["limit"] == 100
    assert front["license"] == "apache-2.0"
    assert body == "# A model\n---\nand a line\n"


def test_the_hub_takes_them(org: str) -> None:
    HfApi().create_repo(f"{org}/m")
    HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=f"{org}/m")
    commit = attach_scores(f"{org}/m", [score(0.25)])
    assert commit.outcome == "commit"
    (result,) = ModelCard.load(f"{org}/m").data.eval_results or []
    assert (result.dataset_type, result.dataset_name) == ("openai/gsm8k", "gsm8k")
    assert (result.metric_type, result.metric_value) == ("exact_match,strict-match", 0.25)
    assert attach_scores(f"{org}/m", [score(0.25)]).outcome == "unchanged"


def test_a_card_that_cannot_be_read_is_left_alone() -> None:
    with pytest.raises(CheckpointError, match="the card of org/m cannot be read"):
        add_scores("---\na: [\n---\n", "org/m", [score(0.1)])
