"""Made-up zoos whose rule is known: the winner follows from the ratio of the delta norms."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from simmerge_hub.operators import PAPER_ARMS, Arm, arm
from simmerge_hub.selector.models import conditioned, heads
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.tables.features import FeatureTable
from simmerge_hub.selector.tables.outcomes import Outcome, Outcomes
from simmerge_hub.selector.training.train import train
from simmerge_hub.signatures.features.vector import Features

ARMS: tuple[Arm, ...] = (*PAPER_ARMS, arm("task_arithmetic", scale=1.0))
NAMES = (
    "delta_norm_expert.all",
    "delta_norm_auxiliary.all",
    "delta_log_ratio.all",
    "delta_cosine.all",
    "drift_kl_expert",
    "drift_kl_auxiliary",
    "kl_mean_expert",
    "js_mean",
    "attention_cosine",
    "weight_cosine",
    "weight_distance.all",
)
DOMAINS = ("code", "math", "rag", "instruct")


@pytest.fixture(scope="session", autouse=True)
def few_trees() -> Iterator[None]:
    """The rule is simple: small forests find it, and the tests are quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "TREE_COUNTS", (30, 60))
        patch.setattr(conditioned, "TREE_COUNTS", (30, 60))
        yield


@pytest.fixture(scope="session")
def make_zoo() -> Callable[..., tuple[Outcomes, FeatureTable]]:
    """`make_zoo(models=…, seed=…, signal=…, noise=…)`."""
    return zoo


@pytest.fixture(scope="session")
def known() -> tuple[Outcomes, FeatureTable]:
    """A zoo with a clear rule."""
    return zoo()


@pytest.fixture(scope="session")
def predictor(known: tuple[Outcomes, FeatureTable]) -> Predictor:
    """Trained on `known`; its report is part of it."""
    return train([known], arms=ARMS)


@pytest.fixture
def pair(known: tuple[Outcomes, FeatureTable]) -> SimpleNamespace:
    """A pair with a large expert and a small auxiliary, where the rule says ties."""
    column = NAMES.index("delta_log_ratio.all")
    key = max(known[1].rows, key=lambda key: float(known[1].rows[key][column]))
    return SimpleNamespace(values=known[1].rows[key].copy(), task=key[2], given=given)


def zoo(
    *, models: int = 16, seed: int = 0, signal: float = 0.6, noise: float = 0.05
) -> tuple[Outcomes, FeatureTable]:
    """A zoo of two regimes: `signal` is what the right arm gains over the wrong one."""
    random = np.random.default_rng(seed)
    names = [f"{DOMAINS[i % 4]}-{i}" for i in range(models)]
    norms = dict(zip(names, np.exp(random.normal(-2, 1, models)), strict=True))
    rows, features = [], {}
    for i, expert in enumerate(names):
        for j, auxiliary in enumerate(names):
            if i == j or i % 2 != j % 2:
                continue
            row = _outcome(expert, auxiliary, f"small-{i % 2}", norms, signal, noise, random)
            rows.append(row)
            features[row.key] = _features(norms[expert], norms[auxiliary], random)
    outcomes = Outcomes(arms=ARMS, rows=tuple(rows), provenance={"parameters": [600_000]})
    return outcomes, FeatureTable(names=NAMES, schema=1, rows=features)


def given(values: np.ndarray) -> Features:
    """A vector as the signatures would give it."""
    return Features(names=NAMES, values=values, schema=1)


def _outcome(
    expert: str,
    auxiliary: str,
    regime: str,
    norms: dict[str, float],
    signal: float,
    noise: float,
    random: np.random.Generator,
) -> Outcome:
    lead = signal / 2 * np.tanh(2 * np.log(norms[expert] / norms[auxiliary]))
    level = 0.5 + 0.1 * random.normal()
    means = (level - lead, level - lead - 0.01, level + lead, level - 0.05)
    halves = {
        a.label: tuple(float(np.clip(m + noise * random.normal(), 0, 1)) for _ in range(2))
        for a, m in zip(ARMS, means, strict=True)
    }
    return Outcome(
        expert=expert,
        auxiliary=auxiliary,
        task=f"{expert.partition('-')[0]}/{expert}",
        regime=regime,
        expert_utility=1.0,
        auxiliary_utility=0.0,
        base_utility=0.0,
        utilities={label: (even + odd) / 2 for label, (even, odd) in halves.items()},
        halves=halves,
    )


def _features(expert: float, auxiliary: float, random: np.random.Generator) -> np.ndarray:
    ratio = float(np.log(expert / auxiliary))
    drifts = [float(np.log(norm) + 0.3 * random.normal()) for norm in (expert, auxiliary)]
    others = random.normal(size=len(NAMES) - 5)
    return np.array([expert, auxiliary, ratio, others[0], *drifts, *others[1:]])
