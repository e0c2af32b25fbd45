"""What is known of a plan -> what is shown: the decision, what fits, licences, cost, pictures."""

import base64
import re
from collections.abc import Mapping

from simmerge_hub.errors import SimmergeError
from simmerge_hub.hub.client import endpoint
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger import Preflight
from simmerge_hub.names import list_first
from simmerge_hub.planning.find.candidates import NAMES_SHOWN, group_reasons
from simmerge_hub.planning.plan import Plan
from simmerge_hub.publishing.figures.merge_tree import can_draw, draw_tree
from simmerge_hub.publishing.figures.shapes import to_svg
from simmerge_hub.publishing.licenses.statements import stated_license
from simmerge_hub.publishing.licenses.verdict import license_of
from simmerge_hub.recipe.why import MEANINGS
from simmerge_hub.signatures.map.similarities import ModelMap
from simmerge_hub.space.answer import Answer, Sight, lacks
from simmerge_hub.space.chart import chart
from simmerge_hub.space.markup import NOTHING, Html, Part, bullets, element, join, table
from simmerge_hub.units import spell_bytes, spell_count

SIGNS = {"tried": "✓", "calibrated": "✓", "extrapolated": "!", "abstained": "?"}
"""How a status is told without colours."""
MISFITS_SHOWN = 20
PAIRS_SHOWN = 60
REASONS_SHOWN = 12
COSINE_DIGITS = 3
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
FIELDS = {
    "--base": "Base, under More options",
    "--collection": "A collection instead, under More options",
    "--signals": "Evidence, under More options",
    "--objective": "Aim, under More options",
    "--expert": "Who is good at what",
    "--license": "Licence, under Merge and publish",
    "--pr": "As a pull request",
    "--private": "Private, if it is new",
}
"""Options that hints name -> where that is on the page."""


def error_box(error: SimmergeError) -> Html:
    """An error of ours, with what to do about it."""
    hint = element("p", element("b", "What to do: "), error.hint) if error.hint else NOTHING
    here = options_here(f"{error} {error.hint}")
    return element("div", element("p", str(error)), hint, here, class_="sm-error", role="alert")


def options_here(said: str) -> Html:
    """What options of the command line are called on the page, of those that a text names."""
    named = dict.fromkeys(OPTION.findall(said))
    here = [f"{each} is {FIELDS.get(each, 'for the command line only')}" for each in named]
    return element("p", f"On this page {'; '.join(here)}.", class_="sm-dim") if here else NOTHING


def status_line(what: str, seconds: float | None = None) -> Html:
    """What is being done, or was."""
    took = f" · {seconds:.0f} s" if seconds is not None else ""
    busy = element("span", class_="sm-busy", aria_hidden="true") if seconds is not None else NOTHING
    return element("div", busy, f"{what}{took}", class_="sm-status", role="status")


def decision(answer: Answer) -> Html:
    """What to do, how far to believe it, why; then the merges."""
    plan, verdict, said = answer.plan, answer.plan.verdict, answer.plan.decision
    status = element(
        "div",
        element("b", f"{SIGNS[verdict.status]} {verdict.status}"),
        f": {MEANINGS[verdict.status]}",
        class_=f"sm-verdict {verdict.status}",
    )
    return join(
        [
            element("h2", said.advice.headline),
            bullets(said.advice.instead),
            element("p", element("b", "How: "), said.method),
            status,
            chart(plan),
            element("h3", "Why this one"),
            bullets([_sentence(said.why), f"How sure: {said.sure}."]),
            _why(plan),
            element("div", *(element("p", note, class_="sm-dim") for note in answer.notes)),
        ]
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _why(plan: Plan) -> Html:
    """With merges called as recipes call them: the choice in numbers; by task what decided."""
    parts: list[Part] = [bullets(f"{text}." for text in plan.verdict.because)]
    for task in plan.tasks:
        standing = plan.verdict.standings[task.name]
        parts.append(element("h4", f"{task.name}: the expert is {task.expert} ({task.source})"))
        parts += [element("p", standing.reason)] if standing.reason else []
    return element("details", element("summary", "Why, in numbers and task by task"), *parts)


def tree(plan: Plan) -> Html:
    """The merge tree of three models and more: as a picture, and in words."""
    if not plan.of_many:
        return NOTHING
    words = element("pre", "\n".join(plan.tree), tabindex="0")
    if not can_draw(plan.recipe):
        return element("section", element("h3", "The merge tree"), words)
    figure = draw_tree(plan.recipe, plan.why())
    return element(
        "section",
        element("h3", "The merge tree"),
        picture(to_svg(figure).encode(), figure.words, "tree"),
        element("details", element("summary", "In words"), words),
    )


def picture(svg: bytes, alt: str, name: str) -> Html:
    """A picture in a frame that scrolls; a box beside it makes it large."""
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    return element(
        "figure",
        element("input", type="checkbox", id=f"sm-zoom-{name}"),
        element("label", "Large", for_=f"sm-zoom-{name}"),
        element("div", element("img", src=source, alt=alt), class_="sm-scroll", tabindex="0"),
        class_="sm-picture",
    )


def fits(answer: Answer, preflight: Preflight | SimmergeError) -> Html:
    """The models that are merged, those that are not and why, and tensors that do not fit."""
    plan = answer.plan
    used = [element("li", f"✓ {model.name}") for model in plan.recipe.models]
    base = [element("li", f"base: {plan.recipe.base.name}")] if plan.recipe.base else []
    left = [
        element("li", f"✗ {list_first(names, NAMES_SHOWN)}: {reason}")
        for reason, names in group_reasons(dict(plan.left_out)).items()
    ]
    parts: list[Part] = [element("h3", "What fits"), element("ul", *used, *base)]
    if left:
        shown = element("ul", *left[:REASONS_SHOWN])
        rest = element("details", element("summary", "More"), element("ul", *left[REASONS_SHOWN:]))
        parts += [element("h3", "What is left out"), shown]
        parts += [rest] if left[REASONS_SHOWN:] else []
        parts.append(options_here(" ".join(plan.left_out.values())))
    if isinstance(preflight, SimmergeError):
        return element("section", *parts, error_box(preflight))
    misfits = [f"{r.model}: {r.name} {r.reason}" for r in preflight.rejected[:MISFITS_SHOWN]]
    if more := len(preflight.rejected[MISFITS_SHOWN:]):
        misfits.append(f"and {more} more")
    parts += [element("h3", "Tensors that do not fit"), bullets(misfits)] if misfits else []
    if preflight.layout.notes:
        parts += [element("h3", "Decided by rule"), bullets(preflight.layout.notes)]
    return element("section", *parts)


def sight(seen: Sight) -> Html:
    """Which of the models fit, where no plan could be made."""
    fit = [m.name for m in seen.models if m.name not in seen.misfits]
    lines = [f"✓ {name}" for name in fit] + [f"✗ {n}: {why}" for n, why in seen.misfits.items()]
    if not lines:
        return NOTHING
    base = f"base: {seen.base.name}" if seen.base else "no base that all of them share"
    return element("section", element("h3", "What fits"), bullets([*lines, base]))


def licences(checkpoints: Mapping[str, Checkpoint]) -> Html:
    """What licence the merge may carry, what each parent states, and what to know."""
    stated = {name: stated_license(checkpoint.card) for name, checkpoint in checkpoints.items()}
    licence = license_of({name: checkpoint.card for name, checkpoint in checkpoints.items()})
    sign = "!" if licence.warnings else "✓"
    return element(
        "section",
        element("h3", "Licence"),
        element(
            "div",
            element("b", f"{sign} {licence.verdict}"),
            "" if licence.conflicts else " for the merge",
            class_=f"sm-verdict {'extrapolated' if licence.warnings else 'calibrated'}",
        ),
        bullets(licence.warnings),
        bullets(f"{said}{f' ({source})' if source else ''}" for said, source in licence.terms),
        table(["model", "states"], [[name, each or "nothing"] for name, each in stated.items()]),
        element("p", "Read from the models' cards. Not legal advice.", class_="sm-dim"),
    )


def costs(preflight: Preflight) -> Html:
    """Bytes, disk, memory and time, and whether this machine has them."""
    missing = lacks(preflight)
    here = "; ".join(missing) if missing else "yes"
    tensors, evicting = len(preflight.layout.entries), spell_bytes(preflight.disk_evicting)
    facts = [
        ("to download", spell_bytes(preflight.download)),
        ("the merge", f"{spell_bytes(preflight.output)}, {tensors:,} tensors"),
        ("disk", f"{spell_bytes(preflight.disk)}; {evicting} with --evict"),
        ("memory", f"about {spell_bytes(preflight.memory)}"),
        (
            "arithmetic",
            f"about {preflight.seconds:,.1f} s on {spell_count(preflight.threads, 'thread')}",
        ),
        ("runs on this machine", here),
    ]
    inputs = [
        [need.name, spell_bytes(need.size), spell_bytes(need.download)] for need in preflight.needs
    ]
    return element(
        "section",
        element("h3", "What it takes"),
        element("dl", *(part for what, text in facts for part in _fact(what, text))),
        table(["input", "size", "to download"], inputs),
    )


def _fact(what: str, text: str) -> tuple[Html, Html]:
    return element("dt", what), element("dd", text)


def map_picture(model_map: ModelMap) -> Html:
    """The picture that `simmerge-hub map` draws, and the nearest pairs in a table."""
    from simmerge_hub.publishing.picture import render

    ranked = model_map.rank_pairs()
    pairs = [
        [*(model_map.names[i] for i in pair.models), f"{pair.value:.{COSINE_DIGITS}f}"]
        for pair in ranked[:PAIRS_SHOWN]
    ]
    measure = model_map.measure.replace("_", " ")
    which = f"{len(pairs)} of {len(ranked)} pairs" if len(pairs) < len(ranked) else "Every pair"
    return element(
        "section",
        picture(render(model_map, ".svg"), "Which models are alike: a tree and a heat map", "map"),
        element("details", element("summary", f"{which}, nearest first"),
                table(["model", "model", measure], pairs)),
    )  # fmt: skip


def recipe_link(yaml: str, query: str) -> Html:
    """A button that saves the recipe, and a link that asks the same question."""
    data = base64.b64encode(yaml.encode()).decode()
    return element(
        "p",
        element("a", "Download plan.yaml", href=f"data:text/yaml;base64,{data}",
                download="plan.yaml", class_="sm-button"),
        element("a", "Link to this plan", href=query, class_="sm-link"),
    )  # fmt: skip


def pushed(url: str, said: str) -> Html:
    """Where the merge can be seen now."""
    known = url.startswith((endpoint(), "https://huggingface.co/"))
    link = element("a", url, href=url, target="_blank", rel="noopener") if known else url
    return element("div", f"{said}: ", link, class_="sm-verdict calibrated", role="status")
