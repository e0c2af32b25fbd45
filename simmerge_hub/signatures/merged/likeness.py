"""How much a merge that was really run behaves like a task's expert: no answers are needed.

What a merge does is hard to tell from its parts and easy to see: one forward pass over the task's
prompts. Divergences are in nats; `end` means the prompts' last positions.
"""

import numpy as np

from simmerge_hub.signatures.measures.comparison import comparable, compare
from simmerge_hub.signatures.probing.sketch import Sketch

LIKENESS_NAMES = (
    "likeness_js",
    "likeness_js_end",
    "likeness_kl",
    "likeness_kl_end",
    "likeness_agreement",
    "likeness_agreement_end",
    "likeness_hidden",
    "likeness_hidden_last",
    "likeness_cka",
    "likeness_loss",
    "likeness_entropy_end",
)
"""Jensen-Shannon divergence and KL(expert‖merge), share of positions with the same most likely
token, cosine of hidden states over all layers and after the last, debiased CKA; loss on the
prompts' text and entropy at their ends, the merge's less the expert's."""
UNKNOWN_LIKENESS = np.full(len(LIKENESS_NAMES), np.nan)
"""Of a merge that was not run."""


def likeness(merge: Sketch | None, expert: Sketch | None) -> np.ndarray:
    """float64 [LIKENESS_NAMES]; unknown if one was not run, or they were fed other tokens."""
    if merge is None or expert is None or not comparable(expert, merge):
        return UNKNOWN_LIKENESS
    seen, ends = compare(expert, merge), expert.ends
    parts = [
        part.mean(dtype=np.float64)
        for values in (seen.js, seen.forward, seen.agrees)
        for part in (values, values[ends])
    ]
    hidden = (seen.hidden.mean(), seen.hidden[-1]) if len(seen.hidden) else (np.nan, np.nan)
    loss = merge.loss.mean(dtype=np.float64) - expert.loss.mean(dtype=np.float64)
    entropy = (merge.entropy[ends] - expert.entropy[ends]).mean(dtype=np.float64)
    return np.array([*parts, *hidden, _mean(seen.cka), loss, entropy])


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
