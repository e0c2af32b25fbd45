"""Where a merge is published: what is checked before, what its card says there, its collection."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simmerge_hub.errors import OutputError, PushFailed, RepoNotFound, RequestError
from simmerge_hub.names import list_first
from simmerge_hub.publishing.licenses.choice import settle_license
from simmerge_hub.publishing.sections.usage import REPO_ID
from simmerge_hub.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from simmerge_hub.hub.upload.publish import Commit

LONGEST_LICENSE = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A repository and how it is written to; the fields are the arguments of `push`."""

    repo_id: str
    private: bool = False
    public: bool = False
    create_pr: bool = False
    revision: str | None = None
    message: str = ""
    license: str | None = None
    collection: str | None = None
    token: str | None = None

    def check(self, recipe: Recipe) -> None:
        """Before any work.

        Raises:
            RequestError: the repository has no owner, both a branch and a pull request are asked
                for, or the licence is no name of one.
            OutputError: it is one of the models that are merged.
        """
        from simmerge_hub.hub.upload.publish import check_name  # what merge spares, see below

        check_name(self.repo_id)
        if self.license is not None and not 0 < len(self.license.strip()) <= LONGEST_LICENSE:
            raise RequestError(
                "--license names no licence", hint="write its identifier, --license apache-2.0"
            )
        if self.create_pr and self.revision:
            raise RequestError(
                "a pull request is made against main, and --revision names a branch",
                hint="leave out --pr or --revision",
            )
        if self.repo_id.lower() in {source.repo.lower() for source in recipe.sources}:
            raise OutputError(
                f"{self.repo_id} is one of the models that were merged",
                hint="push to a repository of its own",
            )

    def settle(self, card: str) -> str:
        """The text of a card as it stands there.

        Raises:
            OutputError: no licence fits all parents, and none was chosen.
        """
        return settle_license(card, self.license).replace(REPO_ID, self.repo_id)

    def title(self, recipe: Recipe) -> str:
        """The commit's first line."""
        names = ", ".join(model.name for model in recipe.models)
        return self.message or f"Merge of {names} with {' and '.join(recipe.operators)}"


@contextmanager
def open_target(target: Target, recipe: Recipe) -> "Iterator[Callable[[Commit], Commit]]":
    """Inside, the Hub is written to by whoever pushes; gives what puts the commit's repository
    into the collection, if one is named.

    Raises:
        PushFailed: what was merged of private models would not be private there, or the repository
            should be private and is not.
        RepoNotFound: there is no such collection.
    """
    from simmerge_hub.hub.client import acting_with  # a tenth of a second that merge spares
    from simmerge_hub.hub.upload.collect import (
        CollectionName,
        add_to_collection,
        check_collection,
    )

    among = CollectionName.parse(target.collection) if target.collection else None

    def collect(commit: "Commit") -> "Commit":
        if among is None:
            return commit
        return replace(commit, collection=add_to_collection(among, commit.repo))

    with acting_with(target.token):
        if among:
            check_collection(among)
        _keep_private(target, recipe)
        yield collect


def _keep_private(target: Target, recipe: Recipe) -> None:
    """A merge holds what its parents learned: that private ones are shown has to be said.

    Of those that are gated everybody knows, and may ask.
    """
    from simmerge_hub.hub.upload.refusals import not_private_error, translate_push_errors

    if target.public and not target.private:
        return
    names = dict.fromkeys(source.repo for source in recipe.sources if source.repo)
    with translate_push_errors(target.repo_id):
        seen = _audience(target.repo_id)
        if target.private and seen not in ("private", "none"):
            raise not_private_error(target.repo_id)
        if target.private or seen == "private":
            return
        hidden = [name for name in names if _audience(name) in ("private", "none")]
    if not hidden:
        return
    are = "is" if len(hidden) == 1 else "are"
    raise PushFailed(
        f"{list_first(hidden)} {are} private, or gone, and {target.repo_id} would not be private; "
        "nothing was pushed",
        hint="--private for a repository that only you see, or --public if everybody may see it",
    )


def _audience(repo: str) -> str:
    """Who sees a repository; "none" where there is none that whoever pushes sees."""
    from simmerge_hub.hub.upload.attachments import audience

    try:
        return audience(repo)
    except RepoNotFound:
        return "none"
