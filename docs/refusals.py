"""Every refusal for the page of errors: its message, its hint, and what following it leads to.

Messages and hints are collected from the code; what came of following a hint is read off the marks
of tests/hints, where it was done.
"""

import ast
import inspect
import re
from collections.abc import Sequence
from pathlib import Path

from simmerge_hub import errors

PACKAGE = Path(errors.__file__).parent
TESTS = Path(__file__).parents[1] / "tests/hints"


def error_tree() -> str:
    """The tree, as the module draws it."""
    tree = (errors.__doc__ or "").partition("\n\n")[2].strip()
    return f"```text\n{tree}\n```"


def error_messages() -> str:
    """Every error with the messages it is raised with."""
    raised, outcomes = _raised(), read_outcomes()
    return "\n\n".join(_error(name, raised.get(name, []), outcomes) for name in _error_names())


def read_outcomes() -> list[tuple[str, str, str]]:
    """(message of a refusal with `…` for what varies, how its hint begins, what that leads to)."""
    outcomes: list[tuple[str, str, str]] = []
    for path in sorted(TESTS.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.refusal"):
                message, outcome, *hint = map(ast.literal_eval, node.args)
                outcomes.append((message, "".join(hint), outcome))
    return outcomes


def _find_outcome(message: str, hint: str, outcomes: Sequence[tuple[str, str, str]]) -> str:
    """What came of following a hint; "" if nobody did."""
    fitting = (
        outcome
        for refused, start, outcome in outcomes
        if refused == _shorten(message) and hint and hint.startswith(start)
    )
    return next(fitting, "")


def _error_names() -> list[str]:
    return [
        name
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, errors.SimmergeError)
    ]


def _raised() -> dict[str, list[tuple[str, str]]]:
    """Error -> the (message, hint) of every place that makes one; `…` stands for what varies."""
    found: dict[str, list[tuple[str, str]]] = {}
    files = [p for p in PACKAGE.rglob("*.py") if "localhub" not in p.parts]
    for path in sorted(files):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                name = ast.unparse(node.func).rpartition(".")[2]
                hints = [k.value for k in node.keywords if k.arg == "hint"]
                texts = (_template(node.args[0]), _template(hints[0]) if hints else "")
                if texts[0].strip("… ") and texts not in found.setdefault(name, []):
                    found[name].append(texts)
    return found


def _template(node: ast.expr) -> str:
    """The text an expression makes, with `…` for every part that is not written there."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _template(node.left) + _template(node.right)
    return "…"


def _error(
    name: str, raised: list[tuple[str, str]], outcomes: Sequence[tuple[str, str, str]]
) -> str:
    found = getattr(errors, name)
    parent = found.__mro__[1].__name__
    kind = "" if name == "SimmergeError" else f" A kind of `{parent}`."
    lines = [f"## `{name}`", f"{inspect.getdoc(found)}{kind}"]
    if raised:
        ordered = sorted(raised, key=lambda texts: texts[0].lstrip("… "))
        rows = [
            f"| {cell(m)} | {cell(_hint(hint))} | {_find_outcome(m, hint, outcomes)} |"
            for m, hint in ordered
        ]
        lines.append("\n".join(["| message | hint | followed: |", "|---|---|---|", *rows]))
    return "\n\n".join(lines)


def _hint(text: str) -> str:
    """Without what may be added before and after it; a word that it ends with is not added."""
    return re.sub(r"(?<=\S)…+$", "", text.lstrip("…"))


def cell(text: str) -> str:
    """Text for a table or a page, where `<`, `|` and line breaks would mean something."""
    text = _shorten(text)
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _shorten(text: str) -> str:
    return re.sub(r"…{2,}", "…", re.sub(r"\s+", " ", text))
