"""A collection, or an author's fine-tunes of a base -> references of the models there.

What the Hub lists is what anybody put there: only names that repositories can have become
references, and none of them is ever taken for a folder on this machine.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from huggingface_hub import constants
from huggingface_hub import errors as hf

from simmerge_hub.errors import HubError, RepoNotFound
from simmerge_hub.hub.client import api, endpoint, translate_errors
from simmerge_hub.hub.reference import ModelRef
from simmerge_hub.units import spell_count

SLUG = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{0,200}[0-9a-f]{24}", re.ASCII)
LISTED_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
"""What strangers may call a model; narrower than `files.location.REPO`, which users type."""
NAMESPACE = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
SEARCH_RESULTS = 12
"""Models that a search shows."""
NEAR = 0.75
"""How alike the name of a model must be to be suggested, 0 to 1."""
MOST_MODELS = 500
"""Models that are looked at; of an author's, the most downloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a catalogue lists.

    Args:
        place: where it was listed, in words.
        references: the models, in its order, each once.
        dropped: what is no model of a usable name, or too much -> the reason.
    """

    place: str
    references: tuple[ModelRef, ...]
    dropped: dict[str, str]


def collection(slug: str) -> Listing:
    """The models of a collection.

    Args:
        slug: `org/title-0123456789abcdef01234567`, or its address.

    Raises:
        RepoNotFound: there is none, or it is private.
        HubError: it holds no model, or the Hub is not reached.
    """
    slug = slug.removeprefix(f"{constants.ENDPOINT}/collections/").strip("/")
    if not SLUG.fullmatch(slug):
        raise RepoNotFound(
            f"{slug!r} is not the name of a collection",
            hint="it is the end of the collection's address: org/title-0123456789abcdef01234567",
        )
    place = f"the collection {slug}"
    with translate_listing_errors(place):
        items = [(item.item_type, item.item_id) for item in api().get_collection(slug).items]
    names = [name for kind, name in items if kind == "model"]
    others = {f"{kind} {name}": "is no model" for kind, name in items if kind != "model"}
    if not names:
        counts = spell_count(len(items), "other item") if items else "nothing"
        raise HubError(
            f"{place} holds no model: it has {counts}",
            hint="add models to it on the Hub, or name them: simmerge-hub plan MODEL MODEL",
        )
    return _listing(place, names, others)


def models_of(author: str, base: str) -> Listing:
    """The models of an author whose card names `base` as what they were made from.

    Args:
        author: a user or organisation.
        base: `org/name[@revision]`; cards name no revision.

    Raises:
        HubError: there is none, or the Hub is not reached.
    """
    named = ModelRef.parse(base)
    if named.folder is not None:
        raise RepoNotFound(
            f"{base} is a folder here, and cards name bases by their repository",
            hint="write --author org --base org/base, where there is no folder org/base",
        )
    if not NAMESPACE.fullmatch(author):
        raise RepoNotFound(
            f"{author!r} is not the name of a user or organisation",
            hint="write --author org --base org/base",
        )
    place = f"the models of {author} made from {named.repo}"
    with translate_listing_errors(place):
        models = api().list_models(
            author=author,
            filter=f"base_model:{named.repo}",
            sort="downloads",
            limit=MOST_MODELS + 1,
        )
        names = [model.id for model in islice(models, MOST_MODELS + 1)]
    if not names:
        raise HubError(
            f"{author} has no model whose card says base_model: {named.repo}",
            hint=f"see what there is: {endpoint()}/{author}; models whose cards do not say "
            "it can be named: simmerge-hub plan MODEL MODEL --base BASE",
        )
    return _listing(place, names, {})


def search(text: str) -> tuple[str, ...]:
    """The most downloaded models whose name holds a text, as a search box shows them.

    Raises:
        HubError: the Hub is not reached.
    """
    with translate_listing_errors(f"the models called {text[:40]!r}"):
        models = api().list_models(search=text[:96], sort="downloads", limit=SEARCH_RESULTS)
        names = [model.id for model in islice(models, SEARCH_RESULTS)]
    return tuple(str(ref) for ref in _listing("the search", names, {}).references)


def names_near(repo: str) -> tuple[str, ...]:
    """Models whose names are nearly that of one there is not, the nearest first; often none.

    One search, for the longest word of its name; if nothing is near, another for its owner.
    """
    owner, _, name = repo.rpartition("/")
    for words in (max(re.split(r"[\W_]", name), key=len, default=""), f"{owner}/"):
        try:
            names = search(words) if len(words) > 1 else ()
        except HubError:  # what is reported is that there is no such repository
            return ()
        if near := difflib.get_close_matches(repo, names, n=3, cutoff=NEAR):
            return tuple(near)
    return ()


def other_kind(repo: str, kind: str) -> str:
    """What is called so on the Hub where there is none of that kind: "model", "dataset", "space";
    "" if nothing is, or it cannot be learned."""
    try:
        with translate_errors(repo):
            others = (k for k in ("model", "dataset", "space") if k != kind)
            return next((k for k in others if api().repo_exists(repo, repo_type=k)), "")
    except HubError:
        return ""


def _listing(place: str, names: Iterable[Any], dropped: dict[str, str]) -> Listing:
    references: dict[str, ModelRef] = {}
    for name in names:
        if not isinstance(name, str) or not LISTED_NAME.fullmatch(name) or ".." in name:
            dropped[ascii(name)[:100]] = "has no name that a repository can have"
        elif len(references) < MOST_MODELS or name in references:
            references[name] = ModelRef(repo=name)
        else:
            dropped[name] = f"is beyond the first {MOST_MODELS} models, which are looked at"
    return Listing(place=place, references=tuple(references.values()), dropped=dropped)


@contextmanager
def translate_listing_errors(place: str) -> Iterator[None]:
    """Raise what goes wrong inside as an error of ours that names the catalogue."""
    try:
        with translate_errors(place):
            yield
    except HubError as error:
        raise _explain(place, error) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HubError(
            f"what the Hub says about {place} cannot be read ({type(error).__name__})",
            hint="try again later, or name the models: simmerge-hub plan MODEL MODEL",
        ) from error


def _explain(place: str, error: HubError) -> HubError:
    """The same error, in words that fit a list of models."""
    cause = error.__cause__
    if isinstance(cause, hf.OfflineModeIsEnabled):
        return type(error)(
            f"offline mode is on, and {place} must be asked for",
            hint="unset HF_HUB_OFFLINE, or name the models: simmerge-hub plan MODEL MODEL",
        )
    status = cause.response.status_code if isinstance(cause, hf.HfHubHTTPError) else None
    if status in (401, 403, 404) and "Invalid credentials" not in str(cause):
        return RepoNotFound(
            f"there is no such thing as {place}, or it is private and the token does not open it",
            hint="check the spelling; for a private one, log in: hf auth login",
        )
    return error
