"""Reference pages from the code: `python docs/generate.py` writes them, `--check` only compares.

A page keeps its hand-written text; what lies between `<!-- generated: NAME -->` and
`<!-- end -->` is replaced by what the function NAME below returns.
"""

import argparse
import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import licences
import measured
import measured_architectures as architectures
import measured_doses as doses
import measured_first as first
import measured_learning as learning
import measured_multiway as multiway
import measured_parity as parity
import measured_selection as selection
import measured_trying as trying
import refusals
from refusals import cell

from simmerge_hub import errors
from simmerge_hub.cli.main import parser
from simmerge_hub.operators import ARMS, FED_ARMS, OPERATORS, PAPER_ARMS, Operator
from simmerge_hub.signatures.features import vector as features

DOCS = Path(__file__).parent
PACKAGE = Path(errors.__file__).parent
PAGES = (
    "reference/tree.md", "reference/cli.md", "reference/operators.md", "reference/errors.md",
    "reference/features.md", "reference/operators-parity.md", "reference/licences.md",
    "reference/architectures.md",
    "explanation/signatures.md", "explanation/selection.md", "explanation/zoo.md",
    "explanation/multiway.md", "explanation/trying.md", "explanation/learning.md",
    "explanation/bandit.md",
    "how-to/choose-from-a-catalogue.md", "how-to/work-on-a-cluster.md",
    "how-to/merge-adapters.md",
    "tutorial/first-merge.md",
)  # fmt: skip
WORKS_ON = {
    "weight": "the weights",
    "delta": "the deltas from a base",
    "anchored": "the weights, with the base's beside them",
}
WIDTH = 24
"""Columns of the names in the tree."""
COLUMNS = 80
"""Of a code block: what is wider is cut off on a screen of 1280 pixels."""
INDENT = 4
HARD_SPACE = "\N{NO-BREAK SPACE}"
"""Stands in for the blank between an option and its value, where no row ends."""
REGION = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> str | None:
    """Write the pages. With --check write nothing, and return the complaint, if there is one."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true", help="write nothing; fail if one is stale")
    check = options.parse_args().check
    stale = [page for page in PAGES if (DOCS / page).read_text("utf-8") != current(page)]
    if check and stale:
        return f"stale: {', '.join(stale)}; run: python docs/generate.py"
    for page in stale:
        (DOCS / page).write_text(current(page), "utf-8")
    return None


def current(page: str) -> str:
    """The text a page should have."""
    if page == "reference/features.md":
        return features.page()
    text = (DOCS / page).read_text("utf-8")
    return REGION.sub(lambda m: f"{m[1]}\n{PARTS[m[2]]().strip()}\n\n{m[3]}", text)


def tree() -> str:
    """Every file of the package with the first line of its docstring."""
    return "```text\nsimmerge_hub/\n" + "\n".join(_rooms(PACKAGE, "")) + "\n```"


def _rooms(folder: Path, indent: str) -> Iterator[str]:
    """A folder's rooms and what they are for; files come before folders."""
    files = [p for p in folder.glob("*.py") if p.name != "__init__.py"]
    rooms = [p for p in folder.iterdir() if (p / "__init__.py").exists()]
    for place in [*sorted(files), *sorted(rooms)]:
        source = place / "__init__.py" if place.is_dir() else place
        about = (ast.get_docstring(ast.parse(source.read_text("utf-8"))) or "").partition("\n\n")[0]
        name = f"{place.name}/" if place.is_dir() else place.name
        row = f"{indent}{name:{WIDTH - len(indent)}}"
        yield _wrapped(f"{row}{' '.join(about.split())}", " " * max(WIDTH, len(row)))
        if place.is_dir():
            yield from _rooms(place, f"{indent}  ")


def _wrapped(text: str, indent: str) -> str:
    """Rows that a code block shows whole; the first keeps its blanks."""
    return textwrap.fill(
        text, COLUMNS, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def commands() -> str:
    """Every command of the command line, with its arguments."""
    return "\n\n".join(_commands("simmerge-hub", parser()))


def operators() -> str:
    """Every operator of the registry."""
    return "\n\n".join(_operator(found) for found in OPERATORS.values())


def arms() -> str:
    """The arms that plans choose between."""
    rows = [
        f"| `{arm.label}` | {'yes' if arm in FED_ARMS else ''} | "
        f"{'yes' if arm in PAPER_ARMS else ''} |"
        for arm in (*ARMS, *FED_ARMS)
    ]
    return "\n".join(["| arm | runs the models | in the paper |", "|---|---|---|", *rows])


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part for part in (
        tree, commands, operators, arms,
        licences.licence_terms, licences.licence_combinations,
        refusals.error_tree, refusals.error_messages,
        measured.signature_cost, measured.signature_peers, measured.signature_errors,
        measured.signature_decisions, measured.signature_merges, measured.signature_families,
        first.first_merge, first.demo_pairs,
        doses.dose_models, doses.dose_pairs,
        trying.trying_nano, trying.trying_real, trying.trying_sets, trying.trying_trees,
        trying.trying_correlation,
        multiway.multiway_strategies, multiway.multiway_own, multiway.multiway_summary,
        multiway.multiway_held_out, multiway.multiway_harm,
        multiway.multiway_again, multiway.at_once,
        multiway.catalogue_cost,
        measured.bandit_regret, measured.bandit_scenarios, measured.bandit_curve,
        measured.bandit_peer,
        learning.learning_cost, learning.learning_curve, learning.learned_same,
        learning.learned_domains, learning.learned_bases, learning.learned_plans,
        learning.learned_real,
        learning.search_curves, learning.search_real,
        learning.cluster_gains,
        parity.regmean_parity, parity.regmean_defaults,
        parity.adapters_peft, parity.adapters_cost,
        architectures.architecture_totals, architectures.architecture_exceptions,
        architectures.architecture_kinds, architectures.architecture_not_made,
        selection.selection_worlds, selection.few_models,
        selection.selection_coefficients,
        selection.selection_strategies, selection.selection_pairs, selection.selection_fixed,
        selection.selection_regimes, selection.selection_ablations, selection.selection_unseen,
        selection.selection_operators, selection.selection_coverage, selection.selection_experts,
        selection.selection_tokens, selection.selection_real, selection.selection_real_again,
        selection.selection_real_family,
        selection.selection_leaning, selection.selection_other_prompts,
        selection.selection_same_prompts,
        selection.selection_belief,
        selection.activations, selection.activation_ablation, selection.off_probes,
        selection.zoo_gates,
        selection.zoo_more_gates,
        selection.selection_cost,
    )
}  # fmt: skip


def _commands(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    shown = [a for a in command._actions if a.help != argparse.SUPPRESS]
    actions = [a for a in shown if not isinstance(a, argparse._HelpAction)]
    groups = [a for a in actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield _command(name, command, actions)
    for group in groups:
        for word, inner in group.choices.items():
            yield from _commands(f"{name} {word}", inner)


def _command(name: str, command: argparse.ArgumentParser, actions: list[argparse.Action]) -> str:
    words = [_usage(a).replace(" ", HARD_SPACE) for a in sorted(actions, key=_is_option)]
    usage = _wrapped(" ".join([name, *words]), " " * INDENT).replace(HARD_SPACE, " ")
    parts = [f"## `{name}`", f"{_sentence(command.description or '')}", f"```text\n{usage}\n```"]
    if actions:
        rows = [f"| {_spelled(a)} | {cell(a.help or '')} |" for a in actions]
        parts.append("\n".join(["| argument | meaning |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _is_option(action: argparse.Action) -> bool:
    return bool(action.option_strings)


def _value(action: argparse.Action) -> str:
    if action.choices and not action.metavar:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return "" if action.nargs == 0 else str(action.metavar or action.dest.upper())


def _usage(action: argparse.Action) -> str:
    value = _value(action)
    if not _is_option(action):
        more = {"+": f"{value} [{value} …]", "*": f"[{value} …]", "?": f"[{value}]"}
        return more.get(str(action.nargs), value)
    text = f"{action.option_strings[0]} {value}".strip()
    return text if action.required else f"[{text}]"


def _spelled(action: argparse.Action) -> str:
    words = action.option_strings or [_value(action)]
    value = f" {_value(action)}" if action.option_strings and _value(action) else ""
    return ", ".join(f"`{word}{value}`" for word in words)


def _operator(found: Operator) -> str:
    least, most = found.models
    count = f"exactly {least}" if least == most else f"{least} or more"
    said = _documented(found.combine)
    lines = [f"## `{found.name}`", found.summary, _result(said.pop("Returns", ""))]
    if found.parameters:
        rows = [
            f"| `{name}` | {_default(default)} | {_meaning(found, name, said.get(name, ''))} |"
            for name, default in found.parameters.items()
        ]
        lines.append("\n".join(["| parameter | default | meaning |", "|---|---|---|", *rows]))
    sampled = "exact" if found.exact_on_samples else "an estimate"
    if not found.on_samples:
        sampled = "not known: sampled rows do not tell of it"
    lines.append(
        f"Works on {WORKS_ON[found.space]}. Inputs: {count}. On a signature the result is "
        f"{sampled}. Source: {_paper(found.paper)}."
    )
    return "\n\n".join(line for line in lines if line)


def _meaning(found: Operator, name: str, said: str) -> str:
    """What a parameter does, and which values it takes beyond a number."""
    words = ", ".join(f"`{word}`" for word in found.choices.get(name, ()))
    each = name in found.per_model and name != "weights" and "for each" not in said
    return " ".join(
        [
            cell(said),
            *([f"One of {words}."] if words else []),
            *(["One number, or one for each model."] if each else []),
        ]
    )


def _documented(function: Callable[..., Any]) -> dict[str, str]:
    """Name -> text for every argument of a docstring, and `Returns`."""
    found: dict[str, list[str]] = {}
    section = name = ""
    for line in (inspect.getdoc(function) or "").splitlines():
        if heading := re.fullmatch(r"(Args|Returns|Raises):", line):
            section = name = heading[1]
        elif section == "Args" and (entry := re.match(r" {4}(\w+): (.*)", line)):
            name = entry[1]
            found[name] = [entry[2]]
        elif name and section != "Raises":
            found.setdefault(name, []).append(line.strip())
    return {name: " ".join(lines).strip() for name, lines in found.items()}


def _default(value: Any) -> str:
    return "" if value is None else f"`{value}`"


def _paper(text: str) -> str:
    return re.sub(r"(arXiv )?(\d{4}\.\d{5})", r"[\g<0>](https://arxiv.org/abs/\2)", text)


def _result(text: str) -> str:
    """What a docstring says is returned, without the shape that all operators share."""
    formula = re.sub(r"^float32 \[rows, cols\](, a delta|, weights)?(\s*\(.*?\))?[:.]\s*", "", text)
    return f"Result: {cell(formula)}".replace("[", "\\[") if formula else ""


def _sentence(text: str) -> str:
    text = text.strip()
    start = text[:1].upper() + text[1:]
    return start if start.endswith((".", ")")) or not start else f"{start}."


if __name__ == "__main__":
    sys.exit(main())
