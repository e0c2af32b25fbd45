"""Published signatures: where they lie on the Hub, found there and put there.

A signature is `simmerge/<digest>.safetensors` on the main branch of the model's own repository, or
of a dataset of somebody's: the digest says which content it is of, so the branch may move on. It
contains weights, so it is never published where more may read it than may read the model.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from simmerge_hub.errors import HubError, RepoNotFound, SignatureError, SimmergeError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.hub.upload.attachments import Attachment, attach, audience, find
from simmerge_hub.hub.upload.publish import Commit, RepoType
from simmerge_hub.progress import Note, Progress
from simmerge_hub.signatures.published.belief import doubt, spot_check
from simmerge_hub.signatures.signing.responses import drop_outdated
from simmerge_hub.signatures.signing.signature import (
    Hit,
    Request,
    Signature,
    Signed,
    load,
    obtain,
    save,
)
from simmerge_hub.units import spell_bytes

HUB_FOLDER = "simmerge"
LARGEST_SIGNATURE = 2**30
"""Bytes of a published signature at most: ten times what one of a 7B model has."""


def find_or_sign(
    request: Request,
    *,
    third_parties: Sequence[str] = (),
    progress: Progress | None = None,
    note: Note | None = None,
) -> Signed:
    """The signature of a model: from the cache, from its own repository, from those of others that
    are named, and only then computed; with where each part came from.

    Args:
        request: what is to be signed.
        third_parties: repositories of others to look in, `org/name`; each must pass a spot check.
        progress: called with (what, steps done, steps in all).
        note: told why something published is not believed, and what will be downloaded.

    Raises:
        RepoNotFound: one of the repositories of others does not exist.
        AlignmentError, ProbeError: as `sign`.
    """
    say = note or (lambda _: None)
    own = request.checkpoint.location.repo
    lookups = [partial(_look_beside_model, own, say)] if own else []
    lookups += [partial(_look_in_repo, repo, say) for repo in third_parties]
    return obtain(request, lookups=lookups, progress=progress, note=note)


def publish(signature: Signature, request: Request, *, to: str | None = None) -> Commit | None:
    """Publish a signature in one commit: beside its model, or in a dataset.

    Where one may not write, a pull request is opened. Sketches that are published there already, of
    other tasks, stay.

    Args:
        signature: of what `request` says.
        request: the model, and the base if it is an adapter.
        to: a dataset `org/name`, created if need be; the model's repository by default.

    Returns:
        The commit, or None if all of it is published there already.

    Raises:
        SignatureError: the model is a folder, and no dataset is named.
        PushFailed: the model is private or gated and the target is not private; or it was refused.
        HubError: the Hub is not reached.
    """
    checkpoint = request.checkpoint
    target, kind = (to, "dataset") if to else (checkpoint.location.repo, "model")
    if not target:
        raise SignatureError(
            f"{checkpoint.name} is a folder here, and has no repository to publish a signature in",
            hint="name a dataset of yours: --to org/signatures",
        )
    closed = _why_closed(request, target if kind == "model" else "")
    theirs = _find_published(signature, request, target, kind)
    if theirs and _parts(signature) <= _parts(theirs):
        return None
    whole = replace(
        _anonymise(signature, checkpoint),
        sketches={**(theirs.sketches if theirs else {}), **signature.sketches},
        responses={**(theirs.responses if theirs else {}), **signature.responses},
    )
    with TemporaryDirectory() as folder:
        file = Path(folder, "signature.safetensors")
        save(whole, file)
        return attach(
            file,
            target,
            _path(request),
            repo_type=kind,
            closed=closed,
            message=f"Signature of {whole.name}",
        )


def size_of(signature: Signature) -> int:
    """Bytes of all it holds."""
    arrays = [
        getattr(sketch, name)
        for sketch in (*signature.sketches.values(), *signature.responses.values())
        for name in sketch.__dataclass_fields__
    ]
    sampled = sum(tensor.nbytes for tensor in signature.sampled.values())
    return sampled + sum(getattr(array, "nbytes", 0) for array in arrays)


def _path(request: Request) -> str:
    return f"{HUB_FOLDER}/{request.identity.replace('+', '-')}.safetensors"


def _look_beside_model(
    repo: str, say: Note, request: Request, known: Signature | None
) -> Hit | None:
    """What the model's owners published beside it."""
    try:
        attached = find(repo, _path(request))
    except HubError as error:
        say(f"{repo}: signatures cannot be looked for: {error}")
        return None
    return _believe(attached, request, known, say)


def _look_in_repo(repo: str, say: Note, request: Request, known: Signature | None) -> Hit | None:
    """What somebody else published, spot-checked unless the whole sample can be compared."""
    try:
        attached = _find_anywhere(repo, _path(request))
    except RepoNotFound:  # the user named it
        raise
    except HubError as error:
        say(f"{repo}: signatures cannot be looked for: {error}")
        return None
    hit = _believe(attached, request, known, say)
    if hit is None or attached is None or known is not None:
        return hit
    try:
        wrong = spot_check(hit.signature, request, attached.location.commit)
    except SimmergeError as error:
        wrong = f"it cannot be checked: {error}"
    if wrong:
        say(_ignored_note(attached, wrong))
        return None
    return hit


def _find_anywhere(repo: str, path: str) -> Attachment | None:
    """In the dataset of that name, or in the model."""
    try:
        return find(repo, path, repo_type="dataset")
    except RepoNotFound:
        return find(repo, path)


def _believe(
    attached: Attachment | None, request: Request, known: Signature | None, say: Note
) -> Hit | None:
    """The signature in a file of others, if there is one and it stands every check."""
    if attached is None:
        return None
    try:
        signature = _load_attached(attached)
    except (SimmergeError, OSError) as error:  # huggingface_hub's own errors are OSErrors too
        say(_ignored_note(attached, str(error)))
        return None
    wrong = doubt(signature, request, known)
    if wrong:
        say(_ignored_note(attached, wrong))
        return None
    return Hit(signature=signature, place=attached.location.repo)


def _load_attached(attached: Attachment) -> Signature:
    if attached.size > LARGEST_SIGNATURE:
        raise SignatureError(
            f"it has {spell_bytes(attached.size)}, and no signature has more than "
            f"{spell_bytes(LARGEST_SIGNATURE)}",
            hint="sign the model here",
        )
    return load(attached.fetch())


def _ignored_note(attached: Attachment, wrong: str) -> str:
    where = attached.location
    return f"the signature in {where.repo}@{where.commit[:8]} is ignored: {wrong}"


def _why_closed(request: Request, own: str) -> str:
    """Why the target must be private: a model behind it that not everybody may read; "" if none.

    A model's own repository is as open as the model; what a folder here may be shown to is not
    known.
    """
    for each in (request.checkpoint, request.adapter_base):
        if each is None or (own and each.location.repo == own):
            continue
        if not each.location.repo:
            return f"{each.name} is a folder here"
        who = audience(each.location.repo)
        if who != "public":
            return f"{each.name} is {who}"
    return ""


def _anonymise(signature: Signature, checkpoint: Checkpoint) -> Signature:
    """Without the name of a folder here."""
    if checkpoint.location.repo:
        return signature
    return replace(signature, name=signature.digest[:12], commit=None)


def _find_published(
    signature: Signature, request: Request, target: str, kind: RepoType
) -> Signature | None:
    """What is published in the same place already and current, if its rows are this signature's."""
    try:
        attached = find(target, _path(request), repo_type=kind)
    except RepoNotFound:  # it will be created, or refused
        return None
    hit = _believe(attached, request, signature, lambda _: None)
    return drop_outdated(request, hit.signature) if hit else None


def _parts(signature: Signature) -> set[tuple[str, ...]]:
    """What it holds beside weights: sketches by their probes, responses by those and their base."""
    sketches = {(sketch.probes,) for sketch in signature.sketches.values()}
    return sketches | {(each.probes, each.base) for each in signature.responses.values()}
