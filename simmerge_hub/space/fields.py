"""What stands on the page, from top to bottom; what it does is in `app`."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from simmerge_hub.publishing.licenses.statements import HUB_LICENSES
from simmerge_hub.signatures.probing.probe import PROBE_DOMAINS

Updates = dict[Any, Any]
"""A component of the page -> what becomes of it, as gradio takes it."""
MOST_TASKS = 12
"""Tasks that a person can name an expert for."""
MOST_LINES = 30
"""Of a file that are seen at once: what follows it shall be found."""
NOBODY = ""
"""The value of a task that nothing is merged for."""
EVIDENCE = [
    ("What is published, else byte ranges", "published"),
    ("Byte ranges of the weights only", "structural"),
    ("Download the models and run them on prompts", "full"),
]
AIMS = [("The best mean over tasks", "mean"), ("The best worst task", "worst")]
MARKDOWN: dict[str, Any] = {"sanitize_html": True, "latex_delimiters": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Where a person says what is to be merged."""

    models: gr.Dropdown
    collection: gr.Textbox
    base: gr.Textbox
    evidence: gr.Radio
    aim: gr.Radio
    experts: tuple[gr.Radio, ...]
    skills: gr.Accordion
    plan: gr.Button
    stop: gr.Button
    status: gr.HTML

    @property
    def values(self) -> list[Any]:
        """The fields that a question is read from, in the order of `question.read`."""
        return [self.models, self.collection, self.base, self.evidence, self.aim]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Where the answer stands; `whole` holds all of it."""

    whole: gr.Column
    decision: gr.HTML
    tree: gr.HTML
    fits: gr.HTML
    licences: gr.HTML
    costs: gr.HTML
    map: gr.HTML
    save: gr.HTML
    recipe: gr.Code
    card: gr.Markdown
    card_text: gr.Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """Where a person has it merged and pushed."""

    merge: gr.Button
    stop: gr.Button
    status: gr.HTML
    where: gr.Column
    repo: gr.Textbox
    proposal: gr.Checkbox
    private: gr.Checkbox
    license: gr.Dropdown
    push: gr.Button
    pushed: gr.HTML


def components(part: Ask | Told | Do) -> list[Any]:
    """All of a part of the page, one by one."""
    held = [getattr(part, each.name) for each in fields(part)]
    return [c for each in held for c in (each if isinstance(each, tuple) else (each,))]


def ask() -> Ask:
    """The upper part: models, and what else may be said."""
    models = gr.Dropdown(
        [], multiselect=True, allow_custom_value=True, label="Models to merge",
        info="Two or more. Type part of a name and choose (arrow keys), or a whole name and Enter.",
        elem_id="models",
    )  # fmt: skip
    with gr.Accordion("More options", open=False):
        with gr.Row():
            collection = gr.Textbox(
                label="A collection instead", placeholder="org/title-0123456789abcdef01234567"
            )
            base = gr.Textbox(label="Base", placeholder="what the cards of the models say")
        evidence = gr.Radio(EVIDENCE, value="published", label="Evidence")
        aim = gr.Radio(AIMS, value="mean", label="Aim")
    with gr.Accordion("Who is good at what", open=False, visible=False) as skills:
        gr.Markdown("From the models' cards. Correct it, and plan again.", **MARKDOWN)
        experts = tuple(
            gr.Radio([], visible=False, label=f"task {number}", elem_classes="sm-expert")
            for number in range(MOST_TASKS)
        )
    with gr.Row():
        plan = gr.Button("Plan", variant="primary", elem_id="plan")
        stop = gr.Button("Stop", visible=False, elem_id="stop")
    return Ask(
        models=models, collection=collection, base=base, evidence=evidence, aim=aim,
        experts=experts, skills=skills, plan=plan, stop=stop, status=gr.HTML(elem_id="status"),
    )  # fmt: skip


def told() -> Told:
    """The middle: the decision first, everything else in tabs."""
    with gr.Column(visible=False) as whole:
        decision = gr.HTML(elem_id="decision")
        tree = gr.HTML()
        save = gr.HTML(elem_id="save")
        with gr.Tabs():
            with gr.Tab("What fits"):
                fits = gr.HTML(elem_id="fits")
            with gr.Tab("Licence"):
                licences = gr.HTML(elem_id="licences")
            with gr.Tab("Cost"):
                costs = gr.HTML(elem_id="costs")
            with gr.Tab("Similarity"):
                similar = gr.HTML(elem_id="map")
            with gr.Tab("Recipe"):
                recipe = gr.Code(
                    language="yaml", label="plan.yaml", interactive=False, lines=10,
                    max_lines=MOST_LINES,
                )  # fmt: skip
            with gr.Tab("Card"):
                card = gr.Markdown(elem_id="card", **MARKDOWN)
                with gr.Accordion("As text", open=False):
                    text = gr.Code(
                        language="markdown", label="README.md", interactive=False,
                        max_lines=MOST_LINES,
                    )  # fmt: skip
    return Told(
        whole=whole, decision=decision, tree=tree, fits=fits, licences=licences, costs=costs,
        map=similar, save=save, recipe=recipe, card=card, card_text=text,
    )  # fmt: skip


def do() -> Do:
    """The lower part: run it here, push it."""
    with gr.Column(visible=False) as where:
        gr.Markdown("## Merge and publish", **MARKDOWN)
        with gr.Row():
            merge = gr.Button("Merge here", elem_id="merge")
            stop = gr.Button("Stop", visible=False, elem_id="stop-merge")
        status = gr.HTML(elem_id="merge-status")
        with gr.Row():
            repo = gr.Textbox(
                label="Repository", placeholder="org/name", interactive=False, elem_id="repo"
            )
            with gr.Column(min_width=160):
                proposal = gr.Checkbox(label="As a pull request", elem_id="proposal")
                private = gr.Checkbox(label="Private, if it is new")
        license = gr.Dropdown(
            sorted(HUB_LICENSES), value=None, allow_custom_value=True, label="Licence",
            info="Needed where no licence fits all models; else that of the card is taken.",
            elem_id="license",
        )  # fmt: skip
        push = gr.Button("Push to the Hub", interactive=False, elem_id="push")
        pushed = gr.HTML(elem_id="pushed")
    return Do(
        merge=merge, stop=stop, status=status, where=where, repo=repo, proposal=proposal,
        private=private, license=license, push=push, pushed=pushed,
    )  # fmt: skip


def expert_updates(
    names: list[str], experts: dict[str, str], sources: dict[str, str]
) -> tuple[list[Any], dict[str, str]]:
    """A radio for each task, and which model stands in which: task -> model or nobody.

    Args:
        names: of the models.
        experts: task -> model, as far as it is known.
        sources: task -> who says so.
    """
    tasks = list(dict.fromkeys([*experts, *PROBE_DOMAINS]))[:MOST_TASKS]
    filled = {task: experts.get(task, NOBODY) for task in tasks}
    choices = [("not a goal", NOBODY), *((name, name) for name in names)]
    updates: list[Any] = [
        gr.update(
            visible=True, label=f"Best at {task}", info=sources.get(task, "no card says"),
            choices=choices, value=filled[task],
        )
        for task in tasks
    ]  # fmt: skip
    updates += [gr.update(visible=False)] * (MOST_TASKS - len(tasks))
    return updates, filled
