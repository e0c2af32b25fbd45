"""The last verbs: check a recipe; run it and write its card; push the folder in one commit."""

from pathlib import Path
from typing import TYPE_CHECKING

from simmerge_hub import merger
from simmerge_hub.errors import CheckpointError, OutputError, RepoNotFound, RevisionNotFound
from simmerge_hub.hub.assets import assets_folder
from simmerge_hub.hub.files.cached import read_small, read_text
from simmerge_hub.hub.files.checksums import CHECKSUMS_FILE, visible_files
from simmerge_hub.hub.reference import ModelRef, list_repository
from simmerge_hub.merger import MergeReport, Page, Preflight
from simmerge_hub.merger.work.split import check_split
from simmerge_hub.progress import Progress, Say
from simmerge_hub.publishing.card import card
from simmerge_hub.publishing.licenses.choice import refuse_conflicts
from simmerge_hub.publishing.licenses.verdict import license_of
from simmerge_hub.publishing.sections.pictures import draw_pictures
from simmerge_hub.publishing.target import Target, open_target
from simmerge_hub.publishing.trust.verify import verify_folder, warn_of_changes
from simmerge_hub.recipe import RECIPE_FILE, Recipe, Why, dump_yaml, load, parse
from simmerge_hub.workers.cluster import open_workers

if TYPE_CHECKING:
    from simmerge_hub.hub.upload.publish import Commit
    from simmerge_hub.merger.layout import Layout
    from simmerge_hub.planning.plan import Plan


def check(what: "Plan | Recipe | str | Path", *, threads: int | None = None) -> Preflight:
    """Say what a merge would do and cost, or why it cannot be done; reads no weight.

    Args:
        what: as for `merge`: a Plan, a Recipe, a YAML file of either, or a folder or repository
            whose card holds a recipe.
        threads: for the estimates; all cores by default.

    Raises:
        SimmergeError: an input cannot be resolved, or the recipe cannot be run at all. Tensors
            that do not fit are not raised but listed in `rejected`.
    """
    recipe, _ = load_recipe(what)
    return merger.check(recipe, threads=threads)


def merge(
    what: "Plan | Recipe | str | Path",
    output: str | Path,
    *,
    overwrite: bool = False,
    threads: int | None = None,
    evict: bool = False,
    durable: bool = True,
    progress: Progress | None = None,
    ray: str | None = None,
    say: Say = lambda text: None,
) -> MergeReport:
    """Run a recipe and write its model card beside the weights.

    Args:
        what: a Plan, a Recipe, a YAML file of either, or a folder or repository whose card holds
            a recipe.
        output: the folder to make; it appears complete or not at all.
        overwrite: replace an existing folder at the end.
        threads: tensors merged at a time; all cores by default.
        evict: delete shards that were downloaded for this as soon as they are merged.
        durable: flush to the disk before the folder appears.
        progress: called with (tensor name, tensors done, tensors in all).
        ray: the Ray cluster over whose nodes the merge is split: `auto` for the one that runs
            here, or HOST:PORT. `threads` and `evict` do not count there. The bytes are the same.
        say: told how the work is spread over nodes, and when it waits for one.

    Returns:
        The report: pinned recipe, folder, cost. A recipe edited since it was planned loses its
        predictions.
    """
    recipe, why = load_recipe(what)
    notes, page = _describe(why)
    if ray:
        check_split(recipe)  # before a cluster is asked
    with open_workers(ray, say) as workers:
        return merger.merge(
            recipe,
            output,
            overwrite=overwrite,
            threads=threads,
            evict=evict,
            durable=durable,
            notes=notes,
            page=page,
            progress=progress,
            workers=workers,
            say=say,
        )


def _describe(why: Why | None) -> tuple[str, Page]:
    """The `notes` and the `page` of a merge, as the merger takes them."""
    notes = dump_yaml({"why": why.to_dict()}) if why else ""

    def page(done: MergeReport) -> dict[str, str]:
        return {"README.md": card(done, why, pictures=True), **draw_pictures(done.recipe, why)}

    return notes, page


def check_push(what: "Plan | Recipe | str | Path", target: Target) -> None:
    """Before a merge of hours: whether its result may be pushed there.

    Args:
        what: as for `merge`.
        target: the repository.

    Raises:
        SimmergeError: as of `push`, so far as recipe and repositories say so.
    """
    recipe, _ = load_recipe(what)
    target.check(recipe)
    with open_target(target, recipe):
        pass


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    public: bool = False,
    create_pr: bool = False,
    revision: str | None = None,
    message: str = "",
    force: bool = False,
    license: str | None = None,
    collection: str | None = None,
    token: str | None = None,
) -> "Commit":
    """Push a merged folder in one commit, card included; no commit where nothing differs.

    Args:
        folder: what `merge` made.
        repo_id: `org/name`; created if it does not exist.
        private: for a repository that is created now.
        public: everybody may see it, although not everybody sees all models that were merged.
        create_pr: open a pull request instead of committing to main.
        revision: the branch to commit to, made from main if there is none; main by default.
        message: the commit's first line; by default it says what was merged.
        force: push files that are not those the merge wrote; the card says which.
        license: the merge's licence, needed where none fits all parents; by default the card's.
        collection: that the repository becomes part of: `org/title-0123456789abcdef01234567`, or
            `org/A title`, which is made if there is none.
        token: of who pushes; by default the one that the Hub's client finds.

    Raises:
        OutputError: the folder is no merge, its files are not those that the merge wrote,
            `repo_id` is one of its parents, or no licence fits them and none is given.
        RequestError: both a branch and a pull request.
        RepoNotFound: there is no such collection; nothing was pushed.
        PushFailed: it was refused, or everybody would see a merge of private models; no commit
            was made.
    """
    from simmerge_hub.hub.upload.publish import publish_folder  # a tenth of a second
    from simmerge_hub.publishing.trust.measured import carry_measured

    place = Path(folder)
    if not (place / RECIPE_FILE).is_file() or not (place / "README.md").is_file():
        raise OutputError(
            f"{folder} is not a folder that simmerge-hub merge made",
            hint="merge first: simmerge-hub merge plan.yaml -o merged",
        )
    recipe, why = parse((place / RECIPE_FILE).read_text("utf-8"), str(place / RECIPE_FILE))
    target = Target(
        repo_id=repo_id, private=private, public=public, create_pr=create_pr,
        revision=revision, message=message, license=license, collection=collection, token=token,
    )  # fmt: skip
    target.check(recipe)
    changes = _changes(place, force)
    page = {"README.md": target.settle((place / "README.md").read_text("utf-8"))}
    with open_target(target, recipe) as collect:
        if not changes:
            there = _published_card(target, (place / CHECKSUMS_FILE).read_bytes())
            page = carry_measured(page["README.md"], there, recipe, why)
        else:
            page["README.md"] = warn_of_changes(page["README.md"], changes)
        commit = publish_folder(
            place,
            repo_id,
            private=private,
            create_pr=create_pr,
            revision=revision,
            message=target.title(recipe),
            replace={name: text.encode() for name, text in page.items()},
        )
        return collect(commit)


def merge_to_hub(
    what: "Plan | Recipe | str | Path",
    target: Target,
    *,
    folder: str | Path | None = None,
    threads: int | None = None,
    evict: bool = False,
    progress: Progress | None = None,
) -> tuple[MergeReport, "Commit"]:
    """Merge and push at once: shards are sent while they are made, and one commit comes last.

    At most two shards lie on this machine, and nothing when it ends. A run that was cut off is
    continued by running it again: what the Hub's store has is not sent again, except for a pull
    request, for which the store may not be asked.

    Args:
        what: as for `merge`.
        target: the repository.
        folder: beside it `FOLDER.partial` holds the shards meanwhile; in the cache by default.
        threads, evict, progress: as for `merge`.

    Raises:
        SimmergeError: as of `merge` and `push`; the repository has the files that it had. It and
            its branch are made before the merge where there are none.
    """
    from simmerge_hub.hub.upload.outbox import Outbox, open_outbox
    from simmerge_hub.merger.streaming import stream
    from simmerge_hub.publishing.trust.measured import carry_measured

    recipe, why = load_recipe(what)
    target.check(recipe)
    place = folder or assets_folder("streams", "") / target.repo_id.replace("/", "--")
    notes, page = _describe(why)

    def begin(layout: "Layout") -> Outbox:
        conflicts = license_of({n: c.card for n, c in layout.checkpoints.items()}).conflicts
        if conflicts and target.license is None:
            raise refuse_conflicts(conflicts)
        return open_outbox(
            target.repo_id, private=target.private, create_pr=target.create_pr,
            revision=target.revision,
        )  # fmt: skip

    def finish(outbox: Outbox, report: MergeReport, small: Path) -> "Commit":
        files: dict[str, Path | bytes] = {**visible_files(small)}
        text = target.settle((small / "README.md").read_text("utf-8"))
        there = _published_card(target, (small / CHECKSUMS_FILE).read_bytes())
        carried = carry_measured(text, there, recipe, why)
        files |= {name: content.encode() for name, content in carried.items()}
        return outbox.commit(files, target.title(report.recipe))

    with open_target(target, recipe) as collect:
        report, commit = stream(
            recipe, place, begin=begin, finish=finish, threads=threads, evict=evict,
            notes=notes, page=page, progress=progress,
        )  # fmt: skip
        return report, collect(commit)


def _published_card(target: Target, checksums: bytes) -> str:
    """The card of the very same files, where they are published already; else "".

    Raises:
        HubError: whether they are cannot be learned: a push would lose what the card says.
    """
    from simmerge_hub.hub.upload.refusals import translate_push_errors  # a tenth of a second

    try:
        with translate_push_errors(target.repo_id):
            location, files = list_repository(
                ModelRef(repo=target.repo_id, revision=target.revision)
            )
    except (RepoNotFound, RevisionNotFound):
        return ""
    if read_small(location, files, CHECKSUMS_FILE) != checksums:
        return ""
    return read_text(location, files, "README.md")


def _changes(folder: Path, force: bool) -> str:
    """How the files that a push sends are not those that the merge wrote; "" if they are.

    Raises:
        OutputError: they are not, and are not to be pushed all the same.
    """
    try:
        verification = verify_folder(folder, visible_files(folder))
    except (CheckpointError, OutputError):
        if not force:
            raise
        return f"the digests that it recorded, {CHECKSUMS_FILE}, are missing or damaged"
    if not (verification.holds or force):
        raise OutputError(
            f"{folder} is not what the merge wrote: {verification.explain()}",
            hint="merge again, or push it and have the card say so: --force",
        )
    return verification.explain()


def load_recipe(what: "Plan | Recipe | str | Path") -> tuple[Recipe, Why | None]:
    """The recipe that `check` and `merge` are given in any form, and its `why`."""
    if isinstance(what, Recipe):
        return what, None
    if isinstance(what, str | Path):
        return load(what)
    return what.recipe, what.why()
