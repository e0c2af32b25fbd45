"""A decision as HTML for notebooks: advice, bars, how sure and why; no script, no style sheet."""

from collections.abc import Iterable
from html import escape

from simmerge_hub.planning.words.decision import Bar, Decision
from simmerge_hub.units import spell_shares

EXPECTED = "What the merge keeps of the task expert's score; 100 % = as good as the expert"
COLOURS = {"good": "#2e7d32", "careful": "#b26a00", "bad": "#c62828"}
BAR = "display:inline-block;width:12em;height:.8em;position:relative;background:#8884"
PART = "position:absolute;left:0;top:0;height:100%"


def decision_html(decision: Decision) -> str:
    """The decision as one element; names of models and tasks are text of others, and escaped."""
    colour = COLOURS[decision.advice.tone]
    facts = [
        ("how", decision.method),
        *(
            ("or" if place else "instead", text)
            for place, text in enumerate(decision.advice.instead)
        ),
        ("how sure", f"{decision.sure} ({decision.status})"),
        ("why this", decision.why),
    ]
    return (
        f'<div><p style="color:{colour}"><b>{escape(decision.advice.headline)}.</b></p>'
        f"{_rows(((f'<th>{escape(name)}</th>', _cell(text)) for name, text in facts))}"
        f"<p>{escape(EXPECTED)}:</p>{_rows(map(_bar, decision.bars))}{_others(decision)}</div>"
    )


def _rows(rows: Iterable[Iterable[str]]) -> str:
    return "<table>" + "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows) + "</table>"


def _cell(text: str) -> str:
    return f'<td style="text-align:left">{escape(text)}</td>'


def _bar(bar: Bar) -> tuple[str, ...]:
    """A task, its bar up to what is expected and shaded up to what is possible, and the numbers."""
    if bar.spread is None:
        return f"<th>{escape(bar.task)}</th>", _cell("not known"), _cell(f"expert {bar.expert}")
    expected, _, possible = (min(100, max(0, round(100 * value))) for value in bar.spread)
    return (
        f"<th>{escape(bar.task)}</th>",
        f'<td><span style="{BAR}">'
        f'<span style="{PART};width:{possible}%;background:#4287f555"></span>'
        f'<span style="{PART};width:{expected}%;background:#4287f5"></span></span></td>',
        _cell(spell_shares(bar.spread)),
        _cell(f"expert {bar.expert}"),
    )


def _others(decision: Decision) -> str:
    if not decision.others:
        return ""
    head = ("<th>Other ways</th>", *(f"<th>{escape(column)}</th>" for column in decision.columns))
    return _rows([head, *((_cell(o.method), *map(_cell, o.values)) for o in decision.others)])
