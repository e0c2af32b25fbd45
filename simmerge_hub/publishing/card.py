"""Plan + MergeReport -> the model card: what was merged, how, what was predicted, how to redo it.

The card holds no time, no path of this machine and no token. Knows nothing about the network.
"""

from collections.abc import Sequence
from typing import Any

from simmerge_hub.literal import code, fence, literal, printable
from simmerge_hub.merger import MergeReport
from simmerge_hub.operators import find
from simmerge_hub.operators.registry import is_own
from simmerge_hub.operators.regression.regmean import feeds_merge
from simmerge_hub.publishing.licenses.choice import CONFLICT
from simmerge_hub.publishing.licenses.statements import stated_license
from simmerge_hub.publishing.licenses.verdict import DISCLAIMER, Licence, license_of
from simmerge_hub.publishing.sections.home import program
from simmerge_hub.publishing.sections.markdown import link, table
from simmerge_hub.publishing.sections.pictures import embed_chart, embed_tree
from simmerge_hub.publishing.sections.predictions import show_predictions
from simmerge_hub.publishing.sections.summary import summarize
from simmerge_hub.publishing.sections.usage import REPO_ID, find_loader, show_usage
from simmerge_hub.recipe import Recipe, Source, Step, dump_yaml
from simmerge_hub.recipe.calibration import list_prompt_files
from simmerge_hub.recipe.why import UNIT, Why

PAPER = "https://arxiv.org/abs/2601.09473"
FEEDS_MERGE_PAPER = "arXiv 2508.03121"
"""Where `inputs: merge` is from."""


def card(report: MergeReport, why: Why | None, *, pictures: bool = False) -> str:
    """The text of README.md.

    Args:
        report: the merge.
        why: the plan's `why:`, or None where nothing was predicted for this recipe.
        pictures: whether the files of `draw_pictures` lie beside it.
    """
    recipe = report.recipe
    licence = license_of({name: each.card for name, each in report.checkpoints.items()})
    parts = [
        f"---\n{dump_yaml(_front_matter(report, licence))}---",
        f"# {_title(recipe)}",
        summarize(report, why, licence),
        embed_chart(why) if pictures else "",
        show_usage(report),
        _making(recipe, why),
        embed_tree(recipe, why) if pictures else "",
        _parents(report),
        _tree(why),
        show_predictions(why),
        _redo(recipe),
        _provenance(report, licence),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(report: MergeReport, licence: Licence) -> dict[str, Any]:
    recipe = report.recipe
    adapter = recipe.output == "adapter"
    parents = list(dict.fromkeys(m.repo for m in recipe.models if m.repo))
    data: dict[str, Any] = {
        "license": licence.identifier,
        **({"license_name": licence.name} if licence.name else {}),
        **({"license_link": licence.link} if licence.link else {}),
        **({CONFLICT: list(licence.conflicts)} if licence.conflicts else {}),
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": find_loader(report)[1],
        "tags": ["merge", "simmerge", *recipe.operators],
    }
    if parents:
        data |= {"base_model": parents, "base_model_relation": "merge"}
    return data


def _title(recipe: Recipe) -> str:
    names = [literal(m.name.rpartition("/")[2]) for m in recipe.models]
    return f"{' + '.join(names)}, merged with {' and '.join(recipe.operators)}"


def _making(recipe: Recipe, why: Why | None) -> str:
    lines = _slices(recipe) if recipe.slices else _steps(recipe.steps)
    what = (
        "Which models, their order and the operators were"
        if why and why.tree
        else "The operator was"
    )
    made = f"{what} chosen by prediction, without evaluating any candidate. " if why else ""
    return (
        f"## How it was made\n\n{made}{program()} runs one recipe ([SimMerge]({PAPER})):\n\n"
        + "\n".join(lines)
    )


def _steps(steps: Sequence[Step]) -> list[str]:
    return [_step(step, number) for number, step in enumerate(steps, 1)]


def _slices(recipe: Recipe) -> list[str]:
    """Every slice of the output with the layers it is made of, and its steps."""
    lines: list[str] = []
    for part, steps in zip(recipe.slices, recipe.programs, strict=True):
        taken = " and ".join(f"{code(n)} {a} to {b - 1}" for n, (a, b) in part.layers.items())
        lines += ["", f"The next {part.depth} layers are made of layers {taken}:", ""]
        lines += _steps(steps)
    return lines


def _step(step: Step, number: int) -> str:
    operator = find(step.operator)
    papers = [operator.paper, *([FEEDS_MERGE_PAPER] if feeds_merge(step.parameters) else [])]
    inputs = " → ".join(code(name) for name in step.models)
    parameters = ", ".join(f"`{k}` = {literal(str(v))}" for k, v in step.parameters.items())
    return (
        f"{number}. **{step.operator}**{f' ({parameters})' if parameters else ''} of {inputs}, "
        f"in this order{f', gives {code(step.name)}' if step.name else ''}. "
        f"{operator.summary} [{'; '.join(papers)}]"
    )


def _parents(report: MergeReport) -> str:
    recipe = report.recipe
    rows = [
        [link(s), _pin(s), _role(s, report), literal(_license(s, report))] for s in recipe.sources
    ]
    parents = f"## Parents\n\n{table(['model', 'commit', 'role', 'licence'], rows)}"
    local = [s for s in recipe.sources if not s.repo]
    if not local:
        return parents
    digests = "\n".join(f"- {code(s.name)}: {code(s.digest)}" for s in local)
    return (
        f"{parents}\n\n**Others cannot redo this merge:** it used folders that are not on the Hub, "
        f"known only by their digest.\n\n{digests}"
    )


def _license(source: Source, report: MergeReport) -> str:
    return stated_license(report.checkpoints[source.name].card) or "not stated"


def _pin(source: Source) -> str:
    return code(source.commit[:12]) if source.commit else "a local folder"


def _role(source: Source, report: MergeReport) -> str:
    if source == report.recipe.base:
        return "base"
    return "LoRA adapter" if report.checkpoints[source.name].kind == "adapter" else "model"


def _tree(why: Why | None) -> str:
    """The merge tree of a plan of many models, with what every merge in it should keep."""
    if why is None or not why.tree:
        return ""
    shown = "\n".join(printable(line).replace("\n", " ") for line in why.tree)
    block = fence(shown)
    return (
        f"## Merge tree\n\nPredicted utility after each step: {UNIT}.\n\n"
        f"{block}text\n{shown}\n{block}"
    )


def _redo(recipe: Recipe) -> str:
    text = recipe.to_yaml(published=True)
    block = fence(text)
    return (
        f"## Redo it\n\n{_who_can_redo(recipe)}\n\n{block}yaml\n{text}{block}\n\n"
        f"The recipe's digest (sha256 of its text): `{recipe.fingerprint}`."
    )


def _who_can_redo(recipe: Recipe) -> str:
    """The command that redoes the merge, or who alone can do it, and how."""
    needed: dict[str, str] = {}
    if any(not source.repo for source in recipe.sources):
        needed["the folders named above"] = "say under each where it lies (`folder:`)"
    if files := list_prompt_files(recipe.calibration):
        needed[f"the prompts in {', '.join(map(code, files))}"] = "put them beside it"
    if own := [name for name in dict.fromkeys(recipe.operators) if is_own(name)]:
        needed[f"the file that declares {', '.join(map(code, own))}"] = (
            "run the file that declares its operator in place of simmerge-hub (`python FILE merge "
            "RECIPE -o again`)"
        )
    if needed:
        return (
            f"Only who has {' and '.join(needed)} can run this recipe again: copy it into a file, "
            f"and {', and '.join(needed.values())}."
        )
    return (
        "The recipe pins every input; running it again gives the same bytes (same versions, same "
        f"processor type):\n\n```bash\nsimmerge-hub merge {REPO_ID} -o again\n```"
    )


def _provenance(report: MergeReport, licence: Licence) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    asks = [literal(said) + (f" (<{at}>)" if at else "") for said, at in licence.terms]
    warnings = "".join(f"\n- {said}" for said in (*map(literal, licence.warnings), *asks))
    licences = f"\n\nLicences:\n{warnings}\n\n{DISCLAIMER}" if warnings else ""
    notes = "".join(f"\n- {literal(note)}" for note in report.notes)
    decided = f"\n\nDecided by rule:\n{notes}" if notes else ""
    made = f"{report.tensors} tensors in {report.recipe.dtype}, made with {versions}."
    return made + _checked(report) + decided + licences


def _checked(report: MergeReport) -> str:
    """Whether the weights that were merged are those the Hub states."""
    remote = [c for c in report.checkpoints.values() if c.location.repo]
    unchecked = [f"{c.name}/{file}" for c in remote for file in c.unchecked]
    if unchecked:
        return f" The Hub states no digest of {literal(', '.join(unchecked))}."
    return " Every weight file has the digest that the Hub states." if remote else ""
