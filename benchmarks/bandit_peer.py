"""The cold bandit beside a published LinTS: the same contexts, rewards and arms.

    python benchmarks/bandit.py peer --to /tmp/peer.npz
    python -m venv /tmp/bandit-peer && /tmp/bandit-peer/bin/pip install mabwiser==2.7.4
    /tmp/bandit-peer/bin/python benchmarks/bandit_peer.py /tmp/peer.npz     # -> bandit_peer.json

mabwiser's LinTS draws β ~ N(μ, α² Λ⁻¹) with a fixed α; ours draws the noise too. Both start at
λ = 0.25 with rewards in units of 0.25, and both pull every arm twice first.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from mabwiser.mab import MAB, LearningPolicy

SCALE = 0.25


def play(contexts: np.ndarray, gains: np.ndarray, order: np.ndarray, seed: int) -> float:
    """Cumulative regret of one stream."""
    arms = list(range(gains.shape[1]))
    policy = MAB(arms, LearningPolicy.LinTS(alpha=1.0, l2_lambda=0.25), seed=seed)
    first = order[: 2 * len(arms)]
    pulled = np.arange(len(first)) % len(arms)
    policy.fit(pulled, gains[first, pulled] / SCALE, contexts[first])
    regret = float((gains[first].max(1) - gains[first, pulled]).sum())
    for place in order[len(first) :]:
        arm = policy.predict(contexts[place][None])
        policy.partial_fit([arm], [gains[place, arm] / SCALE], contexts[place][None])
        regret += gains[place].max() - gains[place, arm]
    return regret


def main() -> None:
    data = np.load(sys.argv[1])
    theirs = np.array(
        [play(data["contexts"], data["gains"], o, seed) for seed, o in enumerate(data["orders"])]
    )
    ours = data["ours"]
    differences = theirs - ours
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    found = {
        "library": f"mabwiser {version('mabwiser')}, LinTS",
        "seeds": len(ours),
        "rounds": int(data["orders"].shape[1]),
        "regret_ours": round(float(ours.mean()), 2),
        "regret_theirs": round(float(theirs.mean()), 2),
        "difference": round(float(differences.mean()), 2),
        "standard_error": round(float(error), 2),
    }
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(found)


if __name__ == "__main__":
    main()
