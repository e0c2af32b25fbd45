"""A predictor -> the card of its repository: trained on what, how good, and what is not known.

All of it is generated from the predictor itself, so that the card cannot claim more than it holds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simmerge_hub.publishing.card import PAPER
from simmerge_hub.publishing.sections.markdown import cell, table
from simmerge_hub.recipe import dump_yaml
from simmerge_hub.selector.predictor.novelty import spell_sizes
from simmerge_hub.selector.predictor.origin import PREDICTOR_FILE
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.predictor.wording import OWN_WEIGHT

POPULAR_SIZE = 7_000_000_000
"""Parameters of the models people ask about first."""
REPORT_SETS = {
    "sets": "the expert's task alone",
    "pairs": "both tasks of a pair, one merge for both",
}
"""Where a report keeps its strategies, and what they were judged on."""
CARD_TITLE = "Predictor of merge operators"


def predictor_card(predictor: Predictor, repo_id: str) -> str:
    """The text of README.md for a predictor that is pushed to `repo_id`."""
    data = {
        "library_name": "simmerge-hub",
        "pipeline_tag": "tabular-regression",
        "tags": ["simmerge", "simmerge-predictor", "model-merging", "xgboost"],
    }
    parts = [
        f"---\n{dump_yaml(data)}---",
        f"# {CARD_TITLE}",
        _summary(predictor, repo_id),
        _training(predictor),
        _arms(predictor),
        *_report(predictor.report),
        *_coverage(predictor),
        _unknown(predictor),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(predictor: Predictor, repo_id: str) -> str:
    return (
        "From what two fine-tuned language models and their base look like on a few prompts and in "
        f"their weights ({len(predictor.names)} features), it predicts how much of the gap between "
        "the better and the weaker parent each merge operator closes, without merging or "
        f"evaluating ([SimMerge]({PAPER})).\n\n"
        f"```bash\nsimmerge-hub plan org/code org/math --predictor {repo_id}\n```\n\n"
        f"`{PREDICTOR_FILE}` is plain data: gradient-boosted trees as JSON, checked when it is "
        "read; nothing in it is run."
    )


def _training(predictor: Predictor) -> str:
    models = predictor.report.get("models")
    counted = f" of {models} models" if isinstance(models, int) else ""
    rows = [[cell(name), f"{count:,}"] for name, count in predictor.regimes.items()]
    return (
        f"## Trained on\n\n{sum(predictor.regimes.values()):,} measured triples{counted}: an "
        f"expert, an auxiliary, and a task. {_weighing(predictor.report)}{_scale(predictor)} "
        "Schema of the features: "
        f"{predictor.features}. SHA-256 of the training data, as plans record it: "
        f"`{predictor.training}`.\n\n" + table(["regime", "rows"], rows)
    )


def _weighing(report: Mapping[str, Any]) -> str:
    weight = report.get(OWN_WEIGHT)
    if not isinstance(weight, int | float) or not 1 < weight < math.inf:
        return ""
    return f"One of its own tables counted {weight:g} times as much as one of others. "


def _scale(predictor: Predictor) -> str:
    sizes = predictor.familiar.parameters
    if sizes is None:
        return "How many parameters the bases had is not recorded."
    return f"The bases had {spell_sizes(sizes)} parameters."


def _arms(predictor: Predictor) -> str:
    far = predictor.beyond
    safe = max(far.gains, key=lambda label: far.gains[label])
    rows = [
        [f"`{arm.label}`", f"{mean:.2f}"]
        for arm, mean in zip(predictor.arms, predictor.means, strict=True)
    ]
    return (
        "## Operators it knows\n\nWith the mean share of the gap each closed in training. Another "
        "operator than the safe one is taken only where its predicted lead exceeds the error such "
        "leads had on held-out models at least as far from training; where none were as far, the "
        f"safe one is `{cell(safe)}`, the best on {far.pairs} {cell(far.of)} ({cell(far.origin)})."
        "\n\n" + table(["operator", "gap closed"], rows)
    )


def _report(report: Mapping[str, Any]) -> Iterator[str]:
    """How it did on models it was not trained on, beside everything simpler."""
    sections = [
        f"### {cell(name)} operators, {judged}\n\n{_strategies(one)}"
        for key, judged in REPORT_SETS.items()
        for name, one in _maps(report.get(key)).items()
        if _maps(one.get("strategies"))
    ]
    if not sections:
        yield "## On held-out models\n\nThe file holds no report: how good it is is not known."
        return
    yield (
        "## On held-out models\n\nMean share of the gap closed by each way to choose, on models "
        "that were left out of training, with 95 % intervals over models."
    )
    yield from sections


def _strategies(one: Mapping[str, Any]) -> str:
    spreads = {n: s for n, s in _maps(one["strategies"]).items() if _is_spread(s)}
    ordered = sorted(spreads.items(), key=lambda item: -item[1]["mean"])
    rows = [[f"**{n}**" if n == "xgboost" else n, _spread(s)] for n, s in ordered]
    said = [
        f"{what.capitalize()}: {_spread(one[what])}."
        for what in ("over best fixed", "headroom captured")
        if _is_spread(one.get(what))
    ]
    return f"{table(['strategy', 'gap closed'], rows)}\n\n{' '.join(said)}".rstrip()


def _coverage(predictor: Predictor) -> Iterator[str]:
    rows = [
        [cell(pattern), *(_spread(one[key]) for key in ("arms", "chosen")), f"{one['width']:.2f}"]
        for pattern, one in _maps(predictor.report.get("coverage")).items()
        if _is_spread(one.get("arms")) and _is_spread(one.get("chosen")) and "width" in one
    ]
    if rows:
        yield (
            f"## Intervals\n\nThey are meant to hold {1 - predictor.alpha:.0%} of outcomes; this "
            "is how many they held on held-out models, by the features that were there.\n\n"
            + table(["features", "each operator", "the chosen one", "mean width"], rows)
        )


def _unknown(predictor: Predictor) -> str:
    sizes = predictor.familiar.parameters
    lines = [
        "Tasks, domains and ways of fine-tuning other than those above.",
        "Whether the merge is any good otherwise: safety, style, languages nobody evaluated.",
    ]
    if sizes is None or sizes[-1] < POPULAR_SIZE:
        lines.insert(0, _beyond(sizes))
    return "## What is not known\n\n" + "\n".join(f"- {line}" for line in lines)


def _beyond(sizes: Sequence[int] | None) -> str:
    said = "How well its rankings hold for models of 7 billion parameters: none were measured. "
    if sizes is None:
        return said + "Evaluate the merge before you rely on it."
    return said + (
        "Its rankings are not followed for models that differ more in size from those trained on "
        "than any that were held out; such plans are marked *abstained*. Evaluate the merge before "
        "you rely on it."
    )


def _maps(value: Any) -> dict[str, Mapping[str, Any]]:
    """The entries of a mapping that are mappings: a report is data of others."""
    if not isinstance(value, Mapping):
        return {}
    return {str(k): v for k, v in value.items() if isinstance(v, Mapping)}


def _is_spread(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(value.get(key), int | float) and math.isfinite(value[key])
        for key in ("mean", "low", "high")
    )


def _spread(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.3f} ({value['low']:.3f} – {value['high']:.3f})"
