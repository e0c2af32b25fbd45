"""A repository -> a place in a collection on the Hub."""

from dataclasses import dataclass

from huggingface_hub import constants

from simmerge_hub.errors import RepoNotFound
from simmerge_hub.hub.client import api, endpoint
from simmerge_hub.hub.listing import NAMESPACE, SLUG, translate_listing_errors
from simmerge_hub.hub.upload.refusals import translate_push_errors

LONGEST_TITLE = 60
"""Characters; the Hub takes no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionName:
    """A collection that is there, by its `slug`; or one by its title, which is made if need be."""

    slug: str = ""
    namespace: str = ""
    title: str = ""

    @classmethod
    def parse(cls, text: str) -> "CollectionName":
        """`org/title-0123456789abcdef01234567`, its address, or `org/A title`.

        Raises:
            RepoNotFound: it is neither.
        """
        name = text.removeprefix(f"{constants.ENDPOINT}/collections/").strip("/ ")
        if SLUG.fullmatch(name):
            return cls(slug=name)
        namespace, _, title = name.partition("/")
        if NAMESPACE.fullmatch(namespace) and 0 < len(title) <= LONGEST_TITLE:
            return cls(namespace=namespace, title=title)
        raise RepoNotFound(
            f"{text!r} is not the name of a collection",
            hint="write the end of its address, org/title-0123456789abcdef01234567, or "
            "'org/A title' for a new one",
        )


def check_collection(name: CollectionName) -> None:
    """Before anything is pushed: whether the collection is there, if it must be.

    Raises:
        RepoNotFound, HubError: it is not, or the Hub is not reached.
    """
    if name.slug:
        with translate_listing_errors(f"the collection {name.slug}"):
            api().get_collection(name.slug)


def add_to_collection(name: CollectionName, repo_id: str) -> str:
    """Put a model into a collection, once; the collection's address.

    Raises:
        PushFailed: it was refused. HubError: the Hub is not reached.
    """
    with translate_push_errors(f"the collection {name.slug or name.title}"):
        slug = name.slug
        if not slug:
            made = api().create_collection(name.title, namespace=name.namespace, exists_ok=True)
            slug = made.slug
        api().add_collection_item(slug, item_id=repo_id, item_type="model", exists_ok=True)
    return f"{endpoint()}/collections/{slug}"
