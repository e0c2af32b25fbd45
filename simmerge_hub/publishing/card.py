"""Plan + MergeReport -> the model card: what was merged, how, what was predicted, how to redo it.

The card holds no time, no path of this machine and no token. Knows nothing about the network.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from simmerge_hub.merger import MergeReport
from simmerge_hub.operators import find
from simmerge_hub.publishing.licenses import Licence, merged_license
from simmerge_hub.recipe import Recipe, Source, Step, dump_yaml

REPO_ID = "REPO_ID"
"""Stands for the repository's name until the merge is pushed."""
PAPER = "https://arxiv.org/abs/2601.09473"


def card(report: MergeReport, why: Mapping[str, Any]) -> str:
    """The text of README.md.

    Args:
        report: the merge.
        why: the plan's `why:`, or {} where nothing was predicted for this recipe.
    """
    recipe = report.recipe
    licence = merged_license({n: c.license for n, c in report.checkpoints.items()})
    parts = [
        f"---\n{dump_yaml(_front_matter(recipe, licence))}---",
        f"# {_title(recipe)}",
        _summary(recipe, predicted=bool(why)),
        _parents(report),
        _predictions(why),
        _usage(recipe),
        _redo(recipe),
        _made_with(report, licence),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(recipe: Recipe, licence: Licence) -> dict[str, Any]:
    parents = list(dict.fromkeys(m.repo for m in recipe.models if m.repo))
    data: dict[str, Any] = {
        "license": licence.identifier,
        **({"license_name": licence.name} if licence.name else {}),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["merge", "simmerge", *_operators(recipe)],
    }
    if parents:
        data |= {"base_model": parents, "base_model_relation": "merge"}
    return data


def _operators(recipe: Recipe) -> list[str]:
    return list(dict.fromkeys(step.operator for step in recipe.steps))


def _title(recipe: Recipe) -> str:
    names = [m.name.rpartition("/")[2] for m in recipe.models]
    return f"{' + '.join(names)}, merged with {' and '.join(_operators(recipe))}"


def _summary(recipe: Recipe, *, predicted: bool) -> str:
    lines = [_step(step, number) for number, step in enumerate(recipe.steps, 1)]
    made = " Its operator was predicted, without evaluating any candidate." if predicted else ""
    return (
        f"This model is a merge of the models below.{made} "
        "[simmerge-hub](https://pypi.org/project/simmerge-hub/) runs one recipe "
        f"([SimMerge]({PAPER})).\n\n" + "\n".join(lines)
    )


def _step(step: Step, number: int) -> str:
    found = find(step.operator)
    inputs = " → ".join(f"`{name}`" for name in step.models)
    parameters = ", ".join(f"`{k}` = {v}" for k, v in step.parameters.items())
    return (
        f"{number}. **{step.operator}**{f' ({parameters})' if parameters else ''} of {inputs}, "
        f"in this order{f', gives `{step.name}`' if step.name else ''}. "
        f"{found.summary} [{found.paper}]"
    )


def _parents(report: MergeReport) -> str:
    recipe = report.recipe
    rows = [
        [_link(s), _pin(s), _role(s, report), report.checkpoints[s.name].license or "not stated"]
        for s in recipe.sources
    ]
    table = _table(["model", "commit", "role", "licence"], rows)
    local = [s for s in recipe.sources if not s.repo]
    if not local:
        return f"## Parents\n\n{table}"
    digests = "\n".join(f"- `{s.name}`: sha256 `{s.digest}`" for s in local)
    return (
        f"## Parents\n\n{table}\n\n**Others cannot redo this merge:** it used folders that are not "
        f"on the Hub, known only by their digest.\n\n{digests}"
    )


def _link(source: Source) -> str:
    return f"[{source.repo}](https://huggingface.co/{source.repo})" if source.repo else source.name


def _pin(source: Source) -> str:
    return f"`{source.commit[:12]}`" if source.commit else "a local folder"


def _role(source: Source, report: MergeReport) -> str:
    if source == report.recipe.base:
        return "base"
    return "LoRA adapter" if report.checkpoints[source.name].kind == "adapter" else "model"


def _predictions(why: Mapping[str, Any]) -> str:
    if not why:
        return (
            "## Predicted utilities\n\nNone: this recipe was written or edited by hand, or redone "
            "from another card. Nothing was predicted for it."
        )
    tasks = [task["task"] for task in why["tasks"]]
    rows = [
        [f"**{p['arm']}**" if p["arm"] == why["choice"] else p["arm"], _interval(p["mean"])]
        + [_interval(p["tasks"][task]) for task in tasks]
        for p in why["predictions"]
    ]
    experts = "; ".join(
        _cell(f"{t['task']}: `{t['expert']}` (probes {t['probes']})") for t in why["tasks"]
    )
    return "\n\n".join(
        [
            "## Predicted utilities",
            "Predicted share of the gap between the weaker and the better parent that each "
            "operator closes on each task (1 = as good as the expert, 0 = as the other parent), "
            f"with {why['coverage']:.0%} intervals per task. These are predictions, not "
            "measurements; the bounds of a mean are the means of its tasks' bounds.",
            _table(["operator", "mean", *tasks], rows),
            f"{_status(why)} {_cell(why['reason'])}",
            f"Experts — {experts}. Predictor `{why['predictor'][:12]}`.",
        ]
    )


def _status(why: Mapping[str, Any]) -> str:
    return {
        "calibrated": "**Calibrated**: the pair is like those the predictor was calibrated on.",
        "extrapolated": "**Extrapolated**: the pair differs in scale from those the predictor was "
        "trained on; the ranking stands, the intervals are not calibrated.",
        "abstained": "**Abstained**: the pair is unlike anything the predictor has seen; the safe "
        "operator was taken.",
    }[why["status"]]


def _interval(values: Sequence[float]) -> str:
    middle, low, high = values
    return f"{middle:.2f} ({low:.2f} – {high:.2f})"


def _usage(recipe: Recipe) -> str:
    return f"""## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{REPO_ID}", dtype="{recipe.dtype}")
tokenizer = AutoTokenizer.from_pretrained("{REPO_ID}")
```"""


def _redo(recipe: Recipe) -> str:
    return f"""## Redo it

The recipe pins every input; running it again gives the same bytes (same versions, same processor
type):

```bash
simmerge-hub merge {REPO_ID} -o again
```

```yaml
{recipe.to_yaml(published=True)}```"""


def _made_with(report: MergeReport, licence: Licence) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    warnings = "".join(f"\n- {_cell(warning)}" for warning in licence.warnings)
    licences = f"\n\nLicences:\n{warnings}" if warnings else ""
    return f"{report.tensors} tensors in {report.recipe.dtype}, made with {versions}.{licences}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(header)
    lines = [map(_cell, header), rule, *(map(_cell, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Text of others, such as a parent's licence or task, must not end a table or open a block."""
    return " ".join(text.split()).replace("|", "\\|").replace("```", "'''")
