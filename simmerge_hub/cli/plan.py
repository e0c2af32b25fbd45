"""plan: what is asked on the command line, the plan, and where it is written."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simmerge_hub.cli import arguments, show
from simmerge_hub.errors import OutputError

if TYPE_CHECKING:
    from simmerge_hub.planning.ask.options import Catalogue
    from simmerge_hub.planning.inputs import Inputs
    from simmerge_hub.planning.plan import Plan
    from simmerge_hub.publishing.licenses.verdict import Licence


def options(commands: Any) -> None:
    """Add `simmerge-hub plan`."""
    command = arguments.command(
        commands, "plan", run, "predict how to merge models; merges and evaluates nothing"
    )
    for add in (_add_models, _add_tasks, _add_objective, _add_search, _add_sources, _add_speech):
        add(command)
    command.add_argument("-o", "--output", metavar="FILE", help="write the plan as YAML")
    command.add_argument(
        "-v", "--verbose", action="store_true",
        help="show everything: every merge that was judged, reasons, distances, origins",
    )  # fmt: skip
    arguments.signatures(command)
    arguments.yes(command)
    arguments.json(command)
    command.set_defaults(check=partial(_check, command))


def _add_models(command: argparse.ArgumentParser) -> None:
    """Which models: named, or those of a catalogue."""
    command.add_argument("models", nargs="*", metavar="MODEL", help=arguments.REFERENCE)
    command.add_argument(
        "--collection", metavar="COLLECTION",
        help="instead of models: those of a collection on the Hub, org/title-0123456789abcdef…",
    )  # fmt: skip
    command.add_argument(
        "--author", metavar="ORG",
        help="instead of models: those of ORG on the Hub whose cards name --base",
    )  # fmt: skip
    command.add_argument(
        "--shortlist", type=arguments.positive, metavar="N",
        help="of a catalogue, search the best N by the scores on their cards; default: 12",
    )  # fmt: skip
    command.add_argument("--base", help="what the models were fine-tuned from")


def _add_tasks(command: argparse.ArgumentParser) -> None:
    """What they are merged for, and what is compared."""
    command.add_argument(
        "--expert", action="append", type=arguments.pair, default=[], dest="experts",
        metavar="TASK=MODEL",
        help="which model is good at a task, if the cards have no scores (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--infer-expert", action="append", default=[], dest="infer", metavar="TASK",
        help="infer it from the task's probes instead, with a probability (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--probes", action="append", type=arguments.pair, default=[], metavar="TASK=SOURCE",
        help="prompts of a task: org/dataset[:split[:column]] or a file (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--signals", choices=["full", "published", "structural"], default="full",
        help="structural: compare weights by a few byte ranges, download no model; published: as "
        "full where all is signed already, else structural",
    )  # fmt: skip


def _add_objective(command: argparse.ArgumentParser) -> None:
    """What merges are judged by."""
    command.add_argument(
        "--objective", choices=["mean", "worst"], default="mean",
        help="what to make as large as it can be of the shares of the task expert's score that a "
             "merge keeps: the mean over tasks, or the worst",
    )  # fmt: skip
    command.add_argument(
        "--weight", action="append", type=arguments.amount, default=[], dest="weights",
        metavar="TASK=NUMBER",
        help="how much a task counts in the mean; 1 if not said (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--keep", action="append", type=arguments.amount, default=[], metavar="TASK=SHARE",
        help="only merges predicted to keep this share, 0 to 1, of the task expert's score "
             "(repeat)",
    )  # fmt: skip


def _add_search(command: argparse.ArgumentParser) -> None:
    """How far to search, and where the tree is drawn."""
    command.add_argument(
        "--balanced", action="store_true",
        help="of two models: only merges that treat both alike, with equal weights",
    )  # fmt: skip
    command.add_argument(
        "--min-models", type=arguments.positive, default=2, dest="least", metavar="N",
        help="of three or more models, merge at least so many; default: 2",
    )  # fmt: skip
    command.add_argument(
        "--max-models", type=arguments.positive, dest="most", metavar="N",
        help="of three or more models, merge at most so many; default: all, of a catalogue 4",
    )  # fmt: skip
    command.add_argument(
        "--beam", type=int, default=8, metavar="N",
        help="of four or more models: intermediates of a subset that are built upon; 0: all",
    )  # fmt: skip
    command.add_argument(
        "--step-weights", choices=["even", "predicted"], default="even", dest="step_weights",
        help="of three or more models: parts of a step count alike or by their numbers of models; "
             "predicted: other weights are tried in the last step as well",
    )  # fmt: skip
    command.add_argument(
        "--try", type=arguments.positive, default=0, dest="tries", metavar="K",
        help="really make the K most promising merges and the safe one, one at a time in a "
             "temporary folder, and see what they keep of the experts' own answers to the probes",
    )  # fmt: skip
    command.add_argument(  # what --try was called
        "--probe-intermediates",
        type=arguments.positive,
        default=argparse.SUPPRESS,
        dest="tries",
        help=argparse.SUPPRESS,
    )
    command.add_argument(
        "--picture", metavar="FILE",
        help="of three or more models, draw the merge tree: .png, .svg or .pdf",
    )  # fmt: skip


def _add_sources(command: argparse.ArgumentParser) -> None:
    """Who predicts, and who may try another arm."""
    command.add_argument(
        "--predictor", metavar="PREDICTOR", help="another one: a file, or org/name[@revision]"
    )
    command.add_argument(
        "--bandit", metavar="STATE",
        help="let a bandit choose: it may try another arm to learn from it; org/name or a folder",
    )  # fmt: skip


def _add_speech(command: argparse.ArgumentParser) -> None:
    """How the merge reads text, ends answers and lays out chats."""
    command.add_argument(
        "--tokenizer", metavar="MODEL",
        help="whose tokenizer, chat template and end token the merge has: a model, base, or union; "
             "default: those the merged models share, else the first model's",
    )  # fmt: skip
    command.add_argument(
        "--chat-template", metavar="MODEL", dest="template",
        help="another chat template: that of a model, or base, or a file in Jinja",
    )  # fmt: skip


def _check(command: argparse.ArgumentParser, given: Mapping[str, Any]) -> None:
    """End with a usage error unless models, a collection or an author are given, and only one."""
    places = {
        "MODEL": given["models"],
        "--collection": given["collection"],
        "--author": given["author"],
    }
    named = [what for what, value in places.items() if value]
    if not named:
        command.error("name models, or --collection COLLECTION, or --author ORG --base BASE")
    if len(named) > 1:
        command.error(f"{' and '.join(named)} exclude each other: give one of them")
    if given["author"] and not given["base"]:
        command.error("--author needs --base: whose fine-tunes shall be looked for?")
    if given["models"] and given["shortlist"]:
        command.error("--shortlist goes with --collection or --author")
    if not given["models"] and given["infer"]:
        command.error("--infer-expert is for two models that are named; use --expert TASK=MODEL")


def run(
    *,
    models: Sequence[str],
    base: str | None = None,
    collection: str | None = None,
    author: str | None = None,
    shortlist: int | None = None,
    experts: Sequence[tuple[str, str]] = (),
    probes: Sequence[tuple[str, str]] = (),
    infer: Sequence[str] = (),
    objective: Literal["mean", "worst"] = "mean",
    weights: Sequence[tuple[str, float]] = (),
    keep: Sequence[tuple[str, float]] = (),
    predictor: str | None = None,
    signals: Literal["full", "published", "structural"] = "full",
    signatures: Sequence[str] = (),
    bandit: str | None = None,
    tries: int = 0,
    picture: str | None = None,
    output: str | None = None,
    as_json: bool = False,
    verbose: bool = False,
    tokenizer: str | None = None,
    template: str | None = None,
    yes: bool = False,
    **search: Any,
) -> None:
    """`simmerge-hub plan`; `search` are the fields of `Search` that are given."""
    arguments.check_output(output, "plan")
    if output:
        _keep_edited(Path(output))
    if picture:
        _check_picture(picture, many=len(models) != 2)
    cards: dict[str, Mapping[str, Any]] = {}
    with show.status("planning") as say, show.asking(yes=yes):
        from simmerge_hub.planning import plan as planning
        from simmerge_hub.planning.ask.objective import Objective
        from simmerge_hub.planning.ask.options import Search, Sources, Tasks

        plan = planning.plan(
            *models,
            catalogue=_catalogue(collection, author, shortlist),
            base=base,
            tasks=Tasks(experts=dict(experts), probes=dict(probes), infer=tuple(infer)),
            objective=Objective(worst=objective == "worst", weights=dict(weights), keep=dict(keep)),
            sources=Sources(
                predictor=predictor, signals=signals, signatures=tuple(signatures), bandit=bandit
            ),
            search=Search(**{name: value for name, value in search.items() if value is not None}),
            tries=tries,
            progress=say,
            note=show.note,
            pinned=lambda inputs: _look_at_licences(inputs, cards),
        )
    plan = _speak(plan, tokenizer, template)
    licence = _licence(plan, cards)
    if picture:
        _draw(plan, picture)
    if output:
        from simmerge_hub.hub.assets import replace_file

        replace_file(Path(output), plan.to_yaml().encode())
    if as_json:
        show.data(plan.to_dict() | {"licence": asdict(licence)})
        return
    from simmerge_hub.cli.plan_page import page

    page(plan, written=output or "", verbose=verbose, licence=licence)


def _keep_edited(file: Path) -> None:
    """Refuse to write over a recipe that somebody wrote or edited.

    Raises:
        OutputError: the file holds something else than a plan as it was made.
    """
    from simmerge_hub.errors import SimmergeError
    from simmerge_hub.recipe import load

    if not file.is_file():
        return
    try:
        untouched = load(str(file))[1] is not None
    except SimmergeError:
        untouched = False
    if not untouched:
        raise OutputError(
            f"{file} is no plan as it was made: it was written or edited by hand",
            hint="write the plan to another file, or move this one away",
        )


def _speak(plan: "Plan", tokenizer: str | None, template: str | None) -> "Plan":
    """The plan with another tokenizer or chat template in its recipe.

    Raises:
        RecipeError: neither a model that is merged nor a template.
    """
    if tokenizer is None and template is None:
        return plan
    from simmerge_hub.recipe import check

    names = {name.rpartition("/")[2]: name for name in reversed(plan.best.tree.models)}
    file = Path(template) if template else None
    text = file.read_text(encoding="utf-8") if file and file.is_file() else template
    recipe = replace(
        plan.recipe,
        tokenizer=names.get(tokenizer or "", tokenizer or plan.recipe.tokenizer),
        chat_template=names.get(text or "", text or ""),
    )
    check(recipe, "the plan")
    return replace(plan, recipe=recipe)


def _look_at_licences(inputs: "Inputs", cards: dict[str, Mapping[str, Any]]) -> None:
    """Keep the models' cards, and say what speaks against sharing a merge before it is planned."""
    from simmerge_hub.publishing.licenses.verdict import license_of

    whole = [*inputs.models, *([inputs.base] if inputs.base else [])]
    cards |= {model.name: model.card for model in whole}
    for conflict in license_of(cards).conflicts:
        show.note(f"licences: {conflict}; push will need --license")


def _licence(plan: "Plan", cards: Mapping[str, Mapping[str, Any]]) -> "Licence":
    """The licence of the merge that is planned, of its models only."""
    from simmerge_hub.publishing.licenses.verdict import license_of

    return license_of({source.name: cards[source.name] for source in plan.recipe.sources})


def _catalogue(
    collection: str | None, author: str | None, shortlist: int | None
) -> "Catalogue | None":
    from simmerge_hub.planning.ask.options import SHORTLIST, Catalogue

    if collection is None and author is None:
        return None
    return Catalogue(collection=collection, author=author, shortlist=shortlist or SHORTLIST)


def _draw(plan: "Plan", picture: str) -> None:
    from simmerge_hub.publishing import merge_tree

    if plan.of_many:
        merge_tree.draw(plan.recipe, plan.why(), picture)
    else:
        show.note(f"{picture} is not drawn: two models are left, and their merge has no tree")


def _check_picture(picture: str, *, many: bool) -> None:
    """Before any work: whether there will be a tree, and whether it can be drawn there."""
    from simmerge_hub.publishing.picture import check

    if not many:
        raise OutputError(
            "a merge of two models has no tree to draw", hint="leave out --picture, or name a third"
        )
    check(picture)
