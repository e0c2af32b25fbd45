"""show, verify, push: what a merge is, whether it still is that, and where it goes."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import arguments, show
from simmerge_hub.cli.results import name_program
from simmerge_hub.units import spell_percent, spell_shares

if TYPE_CHECKING:
    from rich.table import Table

    from simmerge_hub.publishing.trust.record import MergeRecord, Parent
    from simmerge_hub.publishing.trust.results import Kept
    from simmerge_hub.publishing.trust.verify import Verification

LABEL = 12
"""Columns of what stands to the left of a text."""
DUTIES_SHOWN = 2
"""What licences ask for, in lines that are shown at a push."""
NAMES = 34
"""Columns of the names of models and tasks, and more where what stands beside them is short."""
LAST = 24
"""Columns of what stands to the right of a table that names make room for."""
NOW = {"same": "the same", "gone": "gone", "not asked": "not known", "folder": ""}
"""What is said of a parent that has not moved on."""
UNKNOWN = {True: "not known", False: "not stated"}
"""What is said of the licence of a plan, and of a merge, of which nothing is known."""
KEPT = "What it keeps of the task expert's score; 100 % = as good as the expert"


def options(commands: Any) -> None:
    """Add these commands."""
    command = arguments.command(
        commands, "show", show_merge,
        "say how a merge was made and why, how good it is, and what its parents are now",
    )  # fmt: skip
    command.add_argument("reference", metavar="MERGED", help=f"a merge: {arguments.REFERENCE}")
    arguments.json(command)
    _verify(commands)
    _push(commands)


def _verify(commands: Any) -> None:
    command = arguments.command(
        commands, "verify", verify, "say which files of a merge are not those that it wrote"
    )
    command.add_argument("reference", metavar="MERGED", help=f"a merge: {arguments.REFERENCE}")
    command.add_argument(
        "--against", metavar="MERGED", help="a merge whose recorded digests are taken instead"
    )
    arguments.json(command)


def _push(commands: Any) -> None:
    command = arguments.command(commands, "push", push, "push a merge and its card in one commit")
    command.add_argument("folder", metavar="DIR", help="what merge made")
    command.add_argument("repo_id", metavar="REPO", help="org/name")
    arguments.publishing(command)
    arguments.public(command)
    command.add_argument("--revision", metavar="BRANCH", help="default: main; made if it is new")
    command.add_argument(
        "--license",
        metavar="IDENTIFIER",
        help="the merge's licence; needed where none fits all parents",
    )
    command.add_argument("--message", default="", metavar="TEXT", help="the commit's first line")
    command.add_argument(
        "--collection", metavar="COLLECTION",
        help="put it into one: org/title-0123456789abcdef…, or 'org/A title', made if it is new",
    )  # fmt: skip
    command.add_argument(
        "--token",
        help="of who pushes; others on this machine can see it: rather HF_TOKEN, or hf auth login",
    )
    command.add_argument(
        "--force",
        action="store_true",
        help="push files that are not those the merge wrote; the card says which",
    )
    arguments.json(command)


def verify(*, reference: str, as_json: bool, against: str | None = None) -> None:
    """`simmerge-hub verify`; exit code 1 if a file is not what the merge wrote."""
    from simmerge_hub.errors import OutputError
    from simmerge_hub.publishing.trust.verify import verify as compare

    with show.status("reading files"):
        seen = compare(reference, against=against)
    if as_json:
        show.data({"holds": seen.holds, **asdict(seen)})
    else:
        _verification(seen, against or "the merge")
    if not seen.holds:
        raise OutputError(
            f"{seen.name} is not what {against or 'the merge'} wrote: {seen.explain()}",
            hint="redo the merge, from the recipe in it or on its card",
        )


def push(*, folder: str, repo_id: str, as_json: bool, **settings: Any) -> None:
    """`simmerge-hub push`; `settings` are those of the verb."""
    from simmerge_hub.publishing.licenses.duties import read_duties
    from simmerge_hub.publishing.verbs import push as send

    commit = send(folder, repo_id, **settings)
    duties = read_duties(Path(folder, "README.md").read_text("utf-8"))
    if as_json:
        show.data({**asdict(commit), "duties": duties})
        return
    show.commit(commit)
    if commit.collection:
        show.note(f"in the collection: {commit.collection}")
    say_duties(duties, repo_id)


def say_duties(duties: Sequence[str], repo_id: str) -> None:
    """What licences ask for, to whoever has pushed a merge of models that have them."""
    from simmerge_hub.publishing.licenses.duties import warn_of_name

    if warning := warn_of_name(duties, repo_id):
        show.note(f"licence: {warning}")
    for duty in duties[:DUTIES_SHOWN]:
        show.note(f"licence: {duty}")
    if len(duties) > DUTIES_SHOWN:
        show.note(f"licence: {len(duties) - DUTIES_SHOWN} more such lines are on the card")


def show_merge(*, reference: str, as_json: bool) -> None:
    """`simmerge-hub show`."""
    from simmerge_hub.publishing.trust.record import show as look_up

    with show.status("asking the Hub"):
        record = look_up(reference)
    if as_json:
        show.data(_record(record))
    else:
        _print_record(record)


def _record(record: "MergeRecord") -> dict[str, Any]:
    from simmerge_hub.publishing.trust.naming import name_recipe

    return {
        "name": record.name,
        "commit": record.commit,
        "method": name_recipe(record.recipe),
        "licence": record.licence,
        "recipe": record.recipe.to_yaml(published=True),
        "why": record.why.to_dict() if record.why else None,
        "parents": [asdict(parent) for parent in record.parents],
        "results": [{**asdict(kept), "measured": kept.measured} for kept in record.results],
    }


def _print_record(record: "MergeRecord") -> None:
    from rich.text import Text

    from simmerge_hub.publishing.trust.naming import name_recipe

    at = f" at {record.commit[:12]}" if record.commit else ""
    show.OUT.print(Text(f"{record.name}{at}", "bold"))
    rows = [("how", name_recipe(record.recipe)), *_explain(record)]
    show.OUT.print(
        show.paragraphs([*rows, ("licence", record.licence or UNKNOWN[record.planned])], LABEL)
    )
    if record.results:
        show.OUT.print()
        show.OUT.print(Text(f"{KEPT}:", "bold"))
        show.OUT.print(_results(record.results))
    show.OUT.print()
    show.OUT.print(_parents(record.parents, "pinned at" if record.planned else "merged at"))
    show.OUT.print()
    name, program = shlex.quote(record.name), name_program(record.recipe)
    rows = [
        ("redo", _speak_of_redoing(record) or f"{program} merge {name} -o redone"),
        ("check", f"simmerge-hub verify {name}"),
    ]
    if record.planned:
        against = _speak_against(record)
        merge = ("or merge" if against else "next", f"{program} merge {name} -o merged")
        rows = [*([("rather", against)] if against else []), merge]
    show.OUT.print(show.paragraphs(rows, LABEL))


def _speak_of_redoing(record: "MergeRecord") -> str:
    """Why a merge cannot be redone by its name alone; "" where it can."""
    from simmerge_hub.recipe.calibration import list_prompt_files

    folders = [parent.name for parent in record.parents if parent.state == "folder"]
    if folders:
        names = ", ".join(folders)
        return f"only with the folders: copy its recipe, and add folder: PATH to {names}"
    files = [] if record.planned else list_prompt_files(record.recipe.calibration)
    return f"only with {', '.join(files)}: copy its recipe to where they lie" if files else ""


def _speak_against(record: "MergeRecord") -> str:
    """Why a plan says rather not to merge; "" where it does not."""
    from simmerge_hub.publishing.trust.naming import speak_against

    return speak_against(record.why, record.recipe) if record.why else ""


def _explain(record: "MergeRecord") -> Iterator[tuple[str, str]]:
    """Why it was made so, and how far to believe what was predicted."""
    from simmerge_hub.publishing.trust.naming import explain_choice, explain_status

    why = record.why
    if why is None:
        yield "why", "a recipe of somebody's own; nothing was predicted for it"
        return
    yield "why", explain_choice(why)
    yield "how sure", f"{explain_status(why)} ({why.status})"


def _results(results: "tuple[Kept, ...]") -> "Table":
    rows = [(kept.task, *_shares(kept), _said(kept)) for kept in results]
    return _grid(("", "predicted", "measured", ""), rows)


def _shares(kept: "Kept") -> tuple[str, str]:
    predicted = spell_shares(kept.predicted) if kept.predicted else "–"
    if kept.measured is not None:
        return predicted, spell_percent(kept.measured)
    return predicted, "–" if kept.score is None else f"score {kept.score:.2f}"


def _said(kept: "Kept") -> str:
    """Whose score it is a share of, or why it is none."""
    if kept.score is None:
        return f"expert {kept.expert}"
    if kept.measured is None:
        return f"on {kept.dataset}; no score of the expert on it"
    return f"{kept.score:.2f} of {kept.expert}'s {kept.expert_score:.2f}"


def _parents(parents: "tuple[Parent, ...]", at: str) -> "Table":
    return _grid(("Parents", at, "now", ""), [_parent(each) for each in parents])


def _parent(parent: "Parent") -> tuple[str, str, str, str]:
    base = " (base)" if parent.role == "base" else ""
    now = parent.now[:12] if parent.state == "moved on" else NOW[parent.state]
    at = parent.commit[:12] or ("not pinned" if parent.repo else "a folder")
    return f"{parent.name}{base}", at, now, parent.detail


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    """Columns without lines; the first and the last go on below where there is no room."""
    from rich.table import Table
    from rich.text import Text

    first, *inner, last = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    first += 2  # names are indented
    room = show.OUT.width - sum(inner) - 2 * (len(inner) + 1)
    first = min(max(first, LABEL - 2), max(NAMES, room - last), max(room - min(last, LAST), LABEL))
    last = max(room - first, 1)
    table = Table.grid(padding=(0, 2, 0, 0))
    for width in (first, *inner):
        table.add_column(no_wrap=True, min_width=width)
    table.add_column(no_wrap=True, style="dim")
    table.add_row(*(Text(c, "dim" if place else "bold") for place, c in enumerate(columns)))
    for name, *others, said in rows:
        named = fill(name, first, initial_indent="  ", subsequent_indent="    ")
        table.add_row(Text(named), *map(Text, others), Text(fill(said, last)))
    return table


def _verification(seen: "Verification", whose: str) -> None:
    """The files that are not what the merge wrote, one a line, and how many are."""
    for kind, names in seen.problems.items():
        for name in names:
            show.line(f"{kind:8}{name}")
    show.note(f"{seen.match} files are what {whose} wrote")
