"""What is known of a merge from its recipe, its card and the Hub: how, why, from what, how good.

Parents are asked what they are now, which tells whether they have moved on since.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from simmerge_hub.errors import HubError, RepoNotFound, RevisionNotFound
from simmerge_hub.hub.client import offline
from simmerge_hub.hub.evaluations import CardScore, card_scores
from simmerge_hub.hub.files.cached import read_text
from simmerge_hub.hub.files.location import FileEntry, Location
from simmerge_hub.hub.reference import ModelRef, home_path, list_repository, resolve_files
from simmerge_hub.hub.resolve import front_matter
from simmerge_hub.publishing.licenses.statements import stated_license
from simmerge_hub.publishing.licenses.verdict import license_of
from simmerge_hub.publishing.trust.results import Kept, compare_results
from simmerge_hub.recipe import Recipe, Source, Why, load

State = Literal["same", "moved on", "gone", "not asked", "folder"]
WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A model that was merged, and what has become of it.

    Args:
        name: as the recipe calls it; `role`: base or model.
        repo, commit: what was merged; "" for a folder, which has a `digest`.
        state: whether the repository still is at that commit.
        now: its commit on the Hub now; "" where that is not known.
        detail: what has changed, or why it is not known.
    """

    name: str
    role: Literal["base", "model"]
    repo: str
    commit: str
    digest: str
    state: State
    now: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRecord:
    """A merge: `commit` is "" for a folder; `why` None where nothing was predicted for its recipe.

    `results` has every task that was predicted or measured; `licence` is what its card states, and
    of a recipe, which is `planned` only, what its parents' cards allow.
    """

    name: str
    commit: str
    recipe: Recipe
    why: Why | None
    licence: str | None
    parents: tuple[Parent, ...]
    results: tuple[Kept, ...]
    planned: bool = False


def show(reference: str | Path) -> MergeRecord:
    """How a merge was made and why, from what, how good it is, and what its parents are now.

    Downloads cards and a recipe, and no weights.

    Args:
        reference: a merged folder, `org/name` or `org/name@revision`, or a plan.

    Raises:
        RecipeError: it has no recipe.
        HubError: the repository cannot be read; what cannot be learned of parents is no error.
    """
    recipe, why = load(reference, to_run=False)
    name, commit, card = _read_card(reference)
    current = {source.name: _look(source) for source in recipe.sources}
    scores, planned = card_scores(card), home_path(reference).is_file()
    return MergeRecord(
        name=name,
        commit=commit,
        recipe=recipe,
        why=why,
        licence=_allowed(recipe, current) if planned else stated_license(card),
        parents=tuple(_parent(s, s == recipe.base, current[s.name]) for s in recipe.sources),
        results=compare_results(why, scores, _expert_scores(why, current) if scores else {}),
        planned=planned,
    )


def _allowed(recipe: Recipe, current: "Mapping[str, _Current]") -> str | None:
    """The verdict on the licence of a merge to come; None where a parent's card is not known."""
    cards = {}
    for each in recipe.sources:
        location = current[each.name].location
        try:
            if each.folder is not None:
                location, _ = resolve_files(ModelRef(folder=each.folder))
            if location is None:
                return None
            cards[each.name] = front_matter(read_text(location, location.stated, "README.md"))
        except HubError:
            return None
    return license_of(cards).verdict


def expert_scores(recipe: Recipe, why: Why | None) -> dict[str, tuple[CardScore, ...]]:
    """What the cards of a plan's experts state now, by their names in the recipe."""
    planned = {task.expert for task in why.tasks} if why else set[str]()
    current = {source.name: _look(source) for source in recipe.sources if source.name in planned}
    return _expert_scores(why, current)


def _expert_scores(
    why: Why | None, current: "Mapping[str, _Current]"
) -> dict[str, tuple[CardScore, ...]]:
    planned = {task.expert for task in why.tasks} if why else set[str]()
    return {name: _scores(current[name].location) for name in planned & current.keys()}


def _read_card(reference: str | Path) -> tuple[str, str, Mapping[str, Any]]:
    """Name, commit and front matter; a plan is a file and has no card."""
    if home_path(reference).is_file():
        return str(reference), "", {}
    ref = ModelRef.parse(str(reference))
    location, files = resolve_files(ref)
    card = front_matter(read_text(location, files, "README.md"))
    return str(ref), location.commit, card


@dataclass(frozen=True, slots=True, kw_only=True)
class _Current:
    """A parent as it is now: `location` None where it is not known, and `problem` says why."""

    location: Location | None = None
    files: Mapping[str, FileEntry] | None = None
    state: State = "same"
    problem: str = ""


def _look(source: Source) -> _Current:
    if not source.repo:
        return _Current(state="folder")
    if offline():
        return _Current(state="not asked", problem="offline mode is on")
    try:
        location, files = list_repository(ModelRef(repo=source.repo))
    except RepoNotFound:
        return _Current(state="gone", problem="deleted, renamed or private now")
    except HubError as error:
        return _Current(state="not asked", problem=str(error))
    return _Current(location=location, files=files)


def _scores(location: Location | None) -> tuple[CardScore, ...]:
    """What the card of a model states now; nothing if it has none."""
    if location is None:
        return ()
    try:
        text = read_text(location, location.stated, "README.md")
    except HubError:
        return ()
    return card_scores(front_matter(text))


def _parent(source: Source, is_base: bool, current: _Current) -> Parent:
    state, detail, now = current.state, current.problem, ""
    if current.location is not None:
        now = current.location.commit
        if now != source.commit:
            state, detail = "moved on", _what_changed(source, current.files or {})
    return Parent(
        name=source.name,
        role="base" if is_base else "model",
        repo=source.repo,
        commit=source.commit,
        digest=source.digest,
        state=state,
        now=now,
        detail=detail,
    )


def _what_changed(source: Source, now: Mapping[str, FileEntry]) -> str:
    """Whether the weights are others than those that were merged."""
    if not source.commit:
        return "the recipe pins no commit of it"
    try:
        _, before = list_repository(ModelRef(repo=source.repo, revision=source.commit))
    except RevisionNotFound:
        return "the commit that was merged is gone"
    except HubError as error:
        return str(error)
    if dict(_weights(before)) != dict(_weights(now)):
        return "other weights"
    return "the same weights"


def _weights(files: Mapping[str, FileEntry]) -> Iterable[tuple[str, tuple[int, str | None]]]:
    return (
        (name, (entry.size, entry.sha256 or entry.git))
        for name, entry in files.items()
        if name.endswith(WEIGHTS)
    )
