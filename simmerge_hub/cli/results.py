"""What verbs return, as people read it: costs, licences, operators, scores, answers."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from simmerge_hub.cli import show
from simmerge_hub.documents import split_card
from simmerge_hub.units import spell_bytes

if TYPE_CHECKING:
    from simmerge_hub.merger import Preflight
    from simmerge_hub.merger.activations.cost import Passes
    from simmerge_hub.operators import Operator
    from simmerge_hub.publishing.licenses.verdict import Licence
    from simmerge_hub.recipe import Recipe
    from simmerge_hub.zoo.answers import Question
    from simmerge_hub.zoo.manifest import Manifest

SPACES = {
    "weight": "on weights",
    "delta": "on deltas from a base",
    "anchored": "taken into a base",
}
MISFITS_SHOWN = 20
"""Misfits that are listed one by one."""


def preflight(plan: "Preflight") -> None:
    """What a merge needs: each input, the output, and what does not fit."""
    recipe = plan.layout.recipe
    table = show.make_table("input", title=f"{' → '.join(recipe.operators)}, to {recipe.dtype}")
    for column in ("size", "to download"):
        table.add_column(column, justify="right")
    for need in plan.needs:
        table.add_row(show.escape(need.name), spell_bytes(need.size), spell_bytes(need.download))
    show.OUT.print(table)
    for misfit in plan.rejected[:MISFITS_SHOWN]:
        show.line(f"does not fit: {misfit.model}: {misfit.name} {misfit.reason}")
    if len(plan.rejected) > MISFITS_SHOWN:
        show.line(f"... and {len(plan.rejected) - MISFITS_SHOWN} more")
    for decision in plan.layout.notes:
        show.line(f"note: {decision}")
    lines = {"runs": _passes(plan.passes)} if plan.passes else {}
    lines |= {
        "output": f"{len(plan.layout.entries):,} tensors, {spell_bytes(plan.output)}",
        "disk": f"{spell_bytes(plan.disk)}, with --evict {spell_bytes(plan.disk_evicting)}",
        "memory": f"about {spell_bytes(plan.memory)} with --threads {plan.threads}",
        "time": f"about {plan.seconds:,.1f} s of arithmetic; reading, writing and downloading "
        "come on top",
    }
    for what, text in lines.items():
        show.line(show.styled(f"{what:8}", "bold").append(text), hang=8)


def licence(licence: "Licence") -> None:
    """The verdict on the licence, what each parent asks for, and where it says so."""
    from simmerge_hub.publishing.licenses.verdict import DISCLAIMER

    show.line(f"licence: {licence.verdict}")
    for said in licence.warnings:
        if said not in licence.conflicts:
            show.line(f"  {said}")
    for said, source in licence.terms:
        show.line(f"  {said}{f' ({source})' if source else ''}")
    show.line(show.styled(f"  {DISCLAIMER}", "dim"))


def name_program(recipe: "Recipe") -> str:
    """What to type for simmerge-hub: the file that was run, where it declares the operator."""
    from simmerge_hub.operators.registry import is_own

    own = any(is_own(name) for name in recipe.operators)
    return f"python {shlex.quote(sys.argv[0])}" if own else "simmerge-hub"


def _passes(passes: "Passes") -> str:
    """What running the models takes."""
    answers = f"answered with up to {passes.answers} tokens each, " if passes.answers else ""
    return (
        f"{', '.join(passes.models)} on {passes.prompts:,} prompts in all, {answers}"
        f"about {passes.tokens:,} tokens: {passes.count} forward passes"
    )


def operators(catalogue: "Iterable[Operator]") -> None:
    """The catalogue, one operator in three lines."""
    for operator in catalogue:
        least, most = operator.models
        noun = "model" if most == 1 else "models"
        count = f"{least} {noun}" if least == most else f"{least} or more {noun}"
        parameters = ", ".join(
            f"{k}={'|'.join(sorted(operator.choices.get(k, ()), key=v.__ne__)) or v}"
            for k, v in operator.parameters.items()
        )
        show.line(show.styled(operator.name, "bold").append(f"  {operator.summary}"), hang=4)
        show.line(f"    {count}, {SPACES[operator.space]}", hang=0)
        if parameters:
            show.line(f"    {parameters}", hang=0)
        show.line(show.styled(f"    {operator.paper}", "dim"), hang=0)


def scores(manifest: "Manifest") -> None:
    """Exact match of every model of a zoo on its own task, and on the best of the others."""
    table = show.make_table(title=f"Exact match, {manifest.name}")
    for column in ("model", "delta", "its task", "exact match", "best other task", "there"):
        left = column in ("model", "its task", "best other task")
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    for name, entry in manifest.models.items():
        others = {task: score["exact_match"] for task, score in entry.scores.items()}
        own = str(entry.spec.get("task", ""))
        score = others.pop(own, None)
        best = max((task for task in others if others[task]), key=others.__getitem__, default=None)
        table.add_row(
            show.escape(f"{name}{'' if entry.kept else ' (dropped)'}"),
            f"{entry.delta_ratio:.3f}",
            show.escape(own or "–"),
            "–" if score is None else f"{score:.2f}",
            show.escape(best or "–"),
            "–" if best is None else f"{others[best]:.2f}",
        )
    show.OUT.print(table)


def answers(questions: "Sequence[Question]", by_model: Mapping[str, list[str]]) -> None:
    """The first question of each task with every model's answer, then how many were right."""
    tasks = list(dict.fromkeys(question.task for question in questions))
    table = show.make_table()
    for column in ("", *(text for task in tasks for text in (task, "right"))):
        table.add_column(show.escape(column), overflow="fold")
    places = {t: [i for i, asked in enumerate(questions) if asked.task == t] for t in tasks}
    first = [questions[places[task][0]] for task in tasks]
    asked = [cell for one in first for cell in (show.escape(one.prompt), "")]
    right = [cell for one in first for cell in (show.escape(one.answer), "")]
    table.add_row("[dim]prompt", *asked)
    table.add_row("[dim]right answer", *right, end_section=True)
    for name, texts in by_model.items():
        cells: list[str] = []
        for own, one in zip(places.values(), first, strict=True):
            count = sum(texts[i] == questions[i].answer for i in own)
            cells += [_answer(texts[own[0]], one.answer), f"{count} of {len(own)}"]
        table.add_row(show.escape(name), *cells)
    show.OUT.print(table)


def _answer(text: str, right: str) -> str:
    return f"[green]{show.escape(text)}[/]" if text == right else show.escape(text)


def card(text: str) -> None:
    """A model card, rendered; long words in its tables go on in the next row."""
    from rich.markdown import Markdown, TableElement  # 30 ms that only the demo needs
    from rich.table import Table

    class Folded(TableElement):
        def __rich_console__(self, *given: Any) -> Iterator[Any]:
            for table in super().__rich_console__(*given):
                for column in table.columns if isinstance(table, Table) else ():
                    column.overflow = "fold"
                yield table

    class Card(Markdown):
        elements: ClassVar = {**Markdown.elements, "table_open": Folded}

    show.OUT.print(Card(split_card(text)[1]))
