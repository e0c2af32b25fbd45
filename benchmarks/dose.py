"""What nano specialists keep of their own answers at parts of their delta, and what it costs.

    python benchmarks/dose.py      # half a minute on a free core

The five specialists of the packaged zoo on the probes of their own tasks; and of each pair what the
mean of both keeps of either's answers. Writes benchmarks/dose.json.
"""

import json
import time
from itertools import permutations
from pathlib import Path
from typing import Any

import torch

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.signatures.measures import retention
from simmerge_hub.signatures.measures.ratios import mean
from simmerge_hub.signatures.probing.dosing.dose import measure_responses, score_mean
from simmerge_hub.signatures.probing.dosing.response import ANSWER_TOKENS, DOSES
from simmerge_hub.signatures.probing.probe import probe_set, run_probes
from simmerge_hub.zoo.manifest import load_manifest

HERE = Path(__file__).parent
ZOO = HERE.parent / "simmerge_hub" / "zoo" / "nano"


def main() -> None:
    """Measure every specialist and every pair, and write the JSON."""
    torch.set_num_threads(1)
    manifest = load_manifest(ZOO)
    base = resolve(str(manifest.path("base")))
    run_probes(base, None, [probe_set("code")])  # what is imported is not timed
    models, responses = {}, {}
    for name, entry in manifest.specialists.items():
        checkpoint = resolve(str(manifest.path(name)))
        own = (checkpoint, base if entry.kind == "adapter" else None)
        task = entry.spec["task"]
        probes = probe_set(task, str(manifest.probes(task)))
        began = time.process_time()
        run_probes(*own, [probes])
        sketched = time.process_time()
        response = measure_responses(checkpoint, base, [probes])[task]
        answered = time.process_time()
        models[name] = {
            "tokens_an_answer": round(float(response.lengths.mean()), 2),
            "answers_kept": rounded(retention.answers_kept(response)),
            "tokens_kept": rounded(retention.tokens_kept(response)),
            "loglik": rounded(retention.logliks(response)),
            "half_dose": round(retention.half_dose(response), 3),
            "area": round(retention.retention_area(response), 3),
            "sketch_cpu_seconds": round(sketched - began, 2),
            "dose_cpu_seconds": round(answered - sketched, 2),
        }
        responses[name] = (own, probes, response)
    report = {
        "doses": list(DOSES),
        "most_tokens": ANSWER_TOKENS,
        "models": models,
        "pairs": [pair(a, b, responses) for a, b in permutations(responses, 2)],
    }
    (HERE / "dose.json").write_text(json.dumps(report, indent=1) + "\n")


def pair(name: str, other: str, responses: dict[str, Any]) -> dict[str, Any]:
    """What the mean of two models keeps of the answers of the first."""
    own, probes, response = responses[name]
    began = time.process_time()
    cross = score_mean(own, responses[other][0], probes, response)
    loglik = mean(cross.logliks.astype(float))
    return {
        "model": name,
        "partner": other,
        "answers_kept": round(retention.whole_share(cross.kept, response.lengths), 4),
        "tokens_kept": round(float(cross.kept.mean()), 4),
        "loglik": round(loglik, 4),
        "regained": round(retention.regained(response, loglik), 4),
        "cpu_seconds": round(time.process_time() - began, 2),
    }


def rounded(values: Any) -> list[float]:
    """Four digits after the point."""
    return [round(float(value), 4) for value in values]


if __name__ == "__main__":
    main()
