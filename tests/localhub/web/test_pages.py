"""What a browser sees of a repository, and what it is allowed to do there."""

from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from simmerge_hub import localhub

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
CARD = b"""---
license: mit
base_model: [org/a, org/b]
---
# A merge

<script>alert(1)</script>

![tree](plan.svg) [file](config.json)
"""


def get(hub: localhub.Hub, path: str) -> httpx2.Response:
    return httpx2.get(f"{hub.endpoint}{path}", headers={"Accept": "text/html,*/*"})


@pytest.fixture
def repo(org: str) -> str:
    """A model with a card, a picture and a file."""
    name = f"{org}/merged"
    HfApi().create_repo(name)
    files = {"README.md": CARD, "plan.svg": SVG, "config.json": b"{}", "x <b>.txt": b"<i>"}
    adds = [CommitOperationAdd(path, data) for path, data in files.items()]
    HfApi().create_commit(name, adds, commit_message="<b>first</b>")
    return name


def test_a_page_with_card_and_files(hub: localhub.Hub, repo: str) -> None:
    seen = get(hub, f"/{repo}")
    assert seen.status_code == 200
    assert seen.headers["content-type"].startswith("text/html")
    text = seen.text
    assert "<h1>A merge</h1>" in text
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;b&gt;first&lt;/b&gt;" in text
    assert "x &lt;b&gt;.txt" in text
    assert "licence: " in text
    for said in ("org/a", "org/b", "mit"):
        assert f'<span class="tag">{said}</span>' in text
    policy = seen.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe-inline" not in policy


def test_a_folder_of_many_files_is_closed(hub: localhub.Hub, org: str) -> None:
    HfApi().create_repo(f"{org}/many")
    adds = [CommitOperationAdd(f"<b>/{n}.txt", b"x") for n in range(21)]
    adds += [CommitOperationAdd(f"few/{n}.txt", b"x") for n in range(20)]
    HfApi().create_commit(f"{org}/many", adds, commit_message="many")
    text = get(hub, f"/{org}/many").text
    shown, _, closed = text.partition("<details><summary>&lt;b&gt;/, 21 files</summary>")
    assert shown.count("few/") == 2 * 20 and ">.gitattributes<" in shown
    assert closed.count("&lt;b&gt;/") == 21 and "few/" not in closed
    assert text.count("<details>") == 1


def test_files_of_the_page_are_there(hub: localhub.Hub, repo: str) -> None:
    head = HfApi().model_info(repo).sha
    picture = get(hub, f"/{repo}/picture/{head}/plan.svg")
    assert picture.content == SVG
    assert picture.headers["content-type"] == "image/svg+xml"
    assert picture.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert get(hub, f"/{repo}/picture/{head}/config.json").status_code == 404
    blob = get(hub, f"/{repo}/blob/main/config.json")
    assert blob.status_code == 307
    there = httpx2.get(f"{hub.endpoint}{blob.headers['location']}")
    assert there.text == "{}"
    assert there.headers["content-type"].startswith("text/plain")
    assert there.headers["x-content-type-options"] == "nosniff"


def test_every_address_that_a_push_says(hub: localhub.Hub, repo: str, tmp_path: Path) -> None:
    api = HfApi()
    api.create_branch(repo, branch="a/b")
    proposed = CommitOperationAdd("README.md", b"---\nlicense: mit\n---\n# Proposed")
    pull = api.create_commit(repo, [proposed], commit_message="Mine", create_pr=True).pr_url
    collection = api.create_collection("A <b>", namespace=repo.partition("/")[0])
    api.add_collection_item(collection.slug, item_id=repo, item_type="model")
    head = api.model_info(repo).sha
    assert pull
    for path, said in (
        (f"/{repo}/tree/main", "A merge"),
        (f"/{repo}/tree/a%2Fb", "A merge"),
        (f"/{repo}/commit/{head}", "A merge"),
        (pull.removeprefix(hub.endpoint), "Proposed"),
        (f"/collections/{collection.slug}", f'href="/{repo}"'),
        ("/", f'href="/{repo}"'),
    ):
        seen = get(hub, path)
        assert seen.status_code == 200, path
        assert said in seen.text, path
        assert "<b>" not in seen.text.replace("<body>", "")


@pytest.mark.parametrize("kind", ["dataset", "space"])
def test_other_kinds(hub: localhub.Hub, org: str, kind: str) -> None:
    more = {"space_sdk": "static"} if kind == "space" else {}
    url = HfApi().create_repo(f"{org}/x", repo_type=kind, **more)
    seen = get(hub, str(url).removeprefix(hub.endpoint))
    assert seen.status_code == 200
    assert "It has no card." in seen.text


@pytest.mark.parametrize(
    "path",
    ["/org/none", "/x/y/z", "/{repo}/tree/none", "/{repo}/discussions/9", "/{repo}/discussions/x",
     "/{repo}/blob/main/none", "/collections/{repo}", "/models/{repo}/tree/none",
     "/{repo}/<script>", "/api/models/<script>/x"],
)  # fmt: skip
def test_what_is_not_there(hub: localhub.Hub, repo: str, path: str) -> None:
    seen = get(hub, path.replace("{repo}", repo))
    if seen.status_code == 307:
        seen = httpx2.get(f"{hub.endpoint}{seen.headers['location']}")
    assert seen.status_code in (401, 404)
    if seen.headers["content-type"].startswith("text/html"):
        assert "<script>" not in seen.text


def test_private_and_gated_repositories_stay_so(hub: localhub.Hub, repo: str) -> None:
    HfApi().update_repo_settings(repo, gated="manual")
    assert get(hub, f"/{repo}").status_code == 200, "a gate is around the files"
    head = HfApi().model_info(repo).sha
    assert get(hub, f"/{repo}/picture/{head}/plan.svg").status_code in (401, 403, 404)
    HfApi().update_repo_settings(repo, private=True)
    for path in (f"/{repo}", f"/{repo}/tree/main", f"/{repo}/picture/{head}/plan.svg"):
        seen = get(hub, path)
        assert seen.status_code == 404
        assert "A merge" not in seen.text
    assert repo not in get(hub, "/").text


def test_clients_are_answered_as_before(hub: localhub.Hub) -> None:
    assert httpx2.get(f"{hub.endpoint}/").json()["name"] == "localhub"
    missing = httpx2.get(f"{hub.endpoint}/api/models/org/none")
    assert missing.headers["content-type"] == "application/json"
    assert missing.headers["x-error-code"] == "RepoNotFound"
