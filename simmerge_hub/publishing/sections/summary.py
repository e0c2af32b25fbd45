"""The first lines of a merge's card, for whoever wants to use it: what it is, and its licence."""

import re

from simmerge_hub.literal import code, literal
from simmerge_hub.merger import MergeReport
from simmerge_hub.names import join_names
from simmerge_hub.publishing.licenses.choice import NO_LICENSE
from simmerge_hub.publishing.licenses.verdict import Licence
from simmerge_hub.publishing.sections.markdown import link
from simmerge_hub.publishing.sections.usage import find_base
from simmerge_hub.recipe.why import Why
from simmerge_hub.units import spell_shares

UNMEASURED = re.compile(
    r"^(Expected, not measured|Nothing was predicted of it, or measured|Measured:).*$", re.MULTILINE
)
"""The line of a card that says what to expect of it."""
TASKS_SHOWN = 4
"""Tasks of which it is said what the merge should keep; the section on predictions has all."""


def summarize(report: MergeReport, why: Why | None, licence: Licence) -> str:
    """What it is, what to expect of it, and its licence."""
    return "\n\n".join([_what(report), _expect(why), _license(licence)])


def _what(report: MergeReport) -> str:
    recipe = report.recipe
    models = join_names(link(model) for model in recipe.models)
    if recipe.output == "adapter":
        base = find_base(report)
        needs = f"; it needs the model that they were trained on, {literal(base)}" if base else ""
        return f"One LoRA adapter, merged from {models}{needs}."
    base = f", which were fine-tuned from {link(recipe.base)}" if recipe.base else ""
    return f"One model, merged from {models}{base}. It is loaded and used like any other."


def _expect(why: Why | None) -> str:
    chosen = next((m for m in why.predictions if m.merge == why.choice), None) if why else None
    if why is None or chosen is None:
        return "Nothing was predicted of it, or measured: evaluate it before you rely on it."
    parts = [
        f"{spell_shares(chosen.tasks[task.task])} of the score of {code(task.expert)} on "
        f"{literal(task.task)}"
        for task in why.tasks
    ]
    if parts[TASKS_SHOWN:]:
        parts[TASKS_SHOWN:] = [f"{len(parts) - TASKS_SHOWN} more"]
    return (
        f"Expected, not measured ({why.status}): it keeps {join_names(parts)}. Evaluate it "
        "before you rely on it."
    )


def _license(licence: Licence) -> str:
    """One line; that of a conflict is replaced once somebody has chosen a licence."""
    if licence.conflicts:
        return f"{NO_LICENSE}: {literal('; '.join(licence.conflicts))}."
    ask = " Ask before you share it." if licence.silent else ""
    return f"Licence: {literal(licence.verdict)}.{ask}"
