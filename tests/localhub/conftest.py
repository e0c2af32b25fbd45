"""What the client checks share: a client of the owner, one of a visitor, and a repository to use
up."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi

from simmerge_hub.localhub import Hub


@pytest.fixture(scope="session")
def api(hub: Hub) -> HfApi:
    """The unmodified client, as the owner."""
    return HfApi()


@pytest.fixture(scope="session")
def visitor(hub: Hub) -> HfApi:
    """The client as a user who owns only the namespace `visitor`."""
    return HfApi(token="hf_visitor")


@pytest.fixture(scope="session")
def anonymous(hub: Hub) -> HfApi:
    """The client without a token."""
    return HfApi(token=False)


@pytest.fixture
def repo(api: HfApi, org: str) -> str:
    """An empty model repository."""
    return api.create_repo(f"{org}/model").repo_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with regular and large files, some in sub-folders."""
    for name, data in {
        "config.json": b"{}",
        "notes/a.txt": b"a",
        "notes/deep/b.txt": b"b",
        "weights.bin": bytes(range(256)) * 1000,
    }.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "folder"
