"""Tokens, permissions and slips, without a server."""

import time

import pytest

from simmerge_hub.localhub.errors import (
    BadToken,
    Forbidden,
    GatedRepo,
    LoginRequired,
    Refused,
    RepoNotFound,
)
from simmerge_hub.localhub.store.accounts import (
    Accounts,
    Signer,
    check_download,
    check_read,
    check_write,
)
from simmerge_hub.localhub.store.repositories import Repository

ACCOUNTS = Accounts({"ann": "hf_ann"})
ANN, OWNER = ACCOUNTS.user("Bearer hf_ann"), ACCOUNTS.user("Bearer hf_localhub")


def repository(**settings: object) -> Repository:
    fields = {"kind": "models", "id": "org/x", "created_at": "", **settings}
    return Repository(**fields)  # type: ignore[arg-type]


def test_headers_name_users() -> None:
    assert ANN is not None and (ANN.name, ANN.owner) == ("ann", False)
    assert OWNER is not None and (OWNER.name, OWNER.owner) == ("nano", True)
    assert ACCOUNTS.user(None) is ACCOUNTS.user("") is None


@pytest.mark.parametrize("header", ["Bearer hf_nobody", "Bearer ", "hf_ann", "Basic hf_ann"])
def test_other_headers_are_refused(header: str) -> None:
    with pytest.raises(BadToken, match=r"^Invalid credentials in Authorization header$"):
        ACCOUNTS.user(header)


def test_the_owner_may_have_another_token() -> None:
    accounts = Accounts({"nano": "hf_mine"})
    owner = accounts.user("Bearer hf_mine")
    assert owner is not None and owner.owner
    with pytest.raises(BadToken):
        accounts.user("Bearer hf_localhub")


def test_tokens_are_not_kept() -> None:
    assert "hf_" not in repr(vars(ACCOUNTS))


def test_who_may_read() -> None:
    check_read(None, repository())
    check_read(OWNER, repository(private=True))
    check_read(ANN, repository(id="ann/x", private=True))
    for user, status in ((ANN, 404), (None, 401)):
        with pytest.raises(RepoNotFound) as refused:
            check_read(user, repository(private=True))
        assert refused.value.status == status


def test_who_may_download() -> None:
    gated = repository(gated="manual")
    check_download(OWNER, gated)
    check_download(ANN, repository(gated="auto", access={"ann": {"status": "accepted"}}))
    for access in ({}, {"ann": {"status": "rejected"}}, {"ann": {"status": "pending"}}):
        with pytest.raises(GatedRepo):
            check_download(ANN, repository(gated="manual", access=access))
    with pytest.raises(GatedRepo) as anonymous:
        check_download(None, gated)
    assert anonymous.value.status == 401


def test_who_may_write() -> None:
    assert check_write(OWNER, "org") is OWNER
    assert check_write(ANN, "ann") is ANN
    with pytest.raises(Forbidden):
        check_write(ANN, "org")
    with pytest.raises(LoginRequired):
        check_write(None, "org")


def test_slips_are_for_one_thing_and_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = Signer()
    slip = signer.sign("upload", seconds=60)
    signer.check("upload", slip)
    for subject, paper in (("other", slip), ("upload", slip[:-1]), ("upload", "x"), ("upload", "")):
        with pytest.raises(Refused):
            signer.check(subject, paper)
    with pytest.raises(Refused):
        Signer().check("upload", slip)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    with pytest.raises(Refused):
        signer.check("upload", slip)
