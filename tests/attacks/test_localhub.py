"""localhub and hostile users: nobody gets another's file, breaks a list for all, or freezes it."""

import base64
import hashlib
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import lz4.frame
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simmerge_hub.localhub import Hub, cards, info, xet
from simmerge_hub.localhub.errors import Refused
from simmerge_hub.localhub.store.blobs import Blobs
from simmerge_hub.localhub.store.history import Files, lfs_entry, plain_entry

LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
OWNER = {"Authorization": "Bearer hf_localhub"}
VISITOR = {"Authorization": "Bearer hf_visitor"}


@pytest.fixture
def private(hub: Hub, org: str) -> tuple[str, bytes]:
    """The owner's private repository with a large file in it."""
    data = b"\0a private file " + org.encode()
    repo = HfApi().create_repo(f"{org}/private", private=True).repo_id
    adds = [CommitOperationAdd("weights.bin", data)]
    HfApi().create_commit(repo, adds, commit_message="add")
    return repo, data


@pytest.fixture
def theirs(hub: Hub, org: str) -> Iterator[str]:
    visitor = HfApi(token="hf_visitor")
    repo = visitor.create_repo(f"visitor/{org[:60]}").repo_id
    yield repo
    visitor.delete_repo(repo)


def commit(hub: Hub, repo: str, data: bytes, headers: dict[str, str]) -> httpx2.Response:
    """A commit of a large file that was never sent."""
    oid = hashlib.sha256(data).hexdigest()
    lines = [
        {"key": "header", "value": {"summary": "mine now"}},
        {"key": "lfsFile", "value": {"path": "w.bin", "oid": oid, "size": len(data)}},
    ]
    body = "\n".join(map(json.dumps, lines))
    return httpx2.post(
        f"{hub.endpoint}/api/models/{repo}/commit/main", content=body, headers=headers
    )


class TestWhoKnowsAHash:
    def test_does_not_get_the_file(self, hub: Hub, private: tuple[str, bytes], theirs: str) -> None:
        _, data = private
        answer = commit(hub, theirs, data, VISITOR)
        assert answer.status_code == 400 and "was not uploaded" in answer.text
        nothing = commit(hub, theirs, b"no such thing", VISITOR)
        sha = hashlib.sha256(data).hexdigest()
        other = hashlib.sha256(b"no such thing").hexdigest()
        as_if_nothing = answer.text.replace(sha, other).replace(
            f"of {len(data)} bytes", "of 13 bytes"
        )
        assert as_if_nothing == nothing.text, "it must not even say that there is one"
        assert "w.bin" not in HfApi(token="hf_visitor").list_repo_files(theirs)

    def test_is_not_told_that_it_is_there(
        self, hub: Hub, private: tuple[str, bytes], theirs: str
    ) -> None:
        sha, size = hashlib.sha256(private[1]).hexdigest(), len(private[1])
        url = f"{hub.endpoint}/{theirs}.git/info/lfs/objects/batch"
        asked = {"operation": "upload", "objects": [{"oid": sha, "size": size}]}
        (told,) = httpx2.post(url, json=asked, headers=VISITOR).json()["objects"]
        assert "upload" in told["actions"]
        verified = httpx2.post(
            f"{hub.endpoint}/lfs/verify", json={"oid": sha, "size": size}, headers=VISITOR
        )
        assert verified.status_code == 404

    def test_may_commit_what_they_sent_or_may_read(
        self, hub: Hub, private: tuple[str, bytes], theirs: str
    ) -> None:
        repo, data = private
        HfApi(token="hf_visitor").create_commit(
            theirs, [CommitOperationAdd("sent.bin", data)], commit_message="sent"
        )
        assert "sent.bin" in HfApi(token="hf_visitor").list_repo_files(theirs)
        open_file = b"\0an open file " + repo.encode()
        HfApi().create_repo(f"{repo}-open")
        adds = [CommitOperationAdd("w.bin", open_file)]
        HfApi().create_commit(f"{repo}-open", adds, commit_message="add")
        assert commit(hub, theirs, open_file, VISITOR).status_code == 200
        assert commit(hub, repo, data, OWNER).status_code == 200

    def test_gated_files_are_not_open(self, hub: Hub, org: str, theirs: str) -> None:
        data = b"\0a gated file " + org.encode()
        HfApi().create_repo(f"{org}/gated")
        adds = [CommitOperationAdd("w.bin", data)]
        HfApi().create_commit(f"{org}/gated", adds, commit_message="add")
        HfApi().update_repo_settings(f"{org}/gated", gated="manual")
        assert commit(hub, theirs, data, VISITOR).status_code == 400

    def test_chunks_of_others_are_not_put_together(
        self, hub: Hub, private: tuple[str, bytes], theirs: str
    ) -> None:
        """A shard that names somebody else's xorb, and a slip of somebody else's upload."""
        url = f"{hub.endpoint}/api/models/{theirs}/xet-write-token/main"
        token = httpx2.get(url, headers=VISITOR).json()
        slip = {"Authorization": f"Bearer {token['accessToken']}"}
        xorb = b"\1" * 32
        record = struct.pack("<32s4I", b"\2" * 32, 0, 1, 0, 0)
        record += struct.pack("<32s4I", xorb, 0, 5, 0, 1)
        body = xet.SHARD_TAG.ljust(xet.SHARD_HEADER, b"\0") + record + b"\xff" * 48
        answer = httpx2.post(f"{token['casUrl']}/v1/shards", content=body, headers=slip)
        assert answer.status_code == 400 and "was not uploaded" in answer.text
        as_owner = token["casUrl"].replace("-visitor", "-nano")
        assert httpx2.post(f"{as_owner}/v1/shards", content=body, headers=slip).status_code == 401


class TestBeforeALogin:
    @pytest.mark.parametrize(
        "path",
        ["/api/repos/create", "/api/collections", "/api/models/a/b/commit/main", "/lfs/verify",
         "/a/b.git/info/lfs/objects/batch", "/api/models/a/b/preupload/main"],
    )  # fmt: skip
    def test_no_body_is_read(self, hub: Hub, path: str) -> None:
        def endless() -> Iterator[bytes]:
            for _ in range(64):
                yield bytes(2**20)

        sent = 0

        def counted() -> Iterator[bytes]:
            nonlocal sent
            for data in endless():
                sent += len(data)
                yield data

        try:
            status = httpx2.post(f"{hub.endpoint}{path}", content=counted()).status_code
        except httpx2.TransportError:  # it hung up
            return
        assert status in (401, 404)

    @pytest.mark.parametrize(
        "card",
        [
            LAUGHS, "[" * 100_000, "a: !!int ''", r'a: "\UFFFFFFFF"', "a: 1\na: 2", r'a: "\ud800"',
        ],
    )  # fmt: skip
    def test_a_card_is_judged_at_once(self, hub: Hub, card: str) -> None:
        began = time.perf_counter()
        content = {"content": f"---\n{card}\n---\n"}
        answer = httpx2.post(f"{hub.endpoint}/api/validate-yaml", json=content, timeout=60)
        assert answer.status_code == 400 and len(answer.text) < 2000
        assert time.perf_counter() - began < 10

    def test_a_large_body_is_refused(self, hub: Hub) -> None:
        content = json.dumps({"content": "x" * 2**20}).encode()
        answer = httpx2.post(f"{hub.endpoint}/api/validate-yaml", content=content)
        assert answer.status_code == 413


@pytest.mark.parametrize("body", ["[" * 5000, '{"a":' * 5000, '{"name": "\\ud800"}', "[]", "\xff"])
def test_hostile_json_is_refused(hub: Hub, body: str) -> None:
    answer = httpx2.post(
        f"{hub.endpoint}/api/repos/create", content=body.encode("latin-1"), headers=OWNER
    )
    assert answer.status_code == 400


def test_a_title_of_half_a_character(hub: Hub, org: str) -> None:
    repo = HfApi().create_repo(f"{org}/model").repo_id
    url = f"{hub.endpoint}/api/models/{repo}/discussions"
    body = b'{"title": "\\ud800", "description": "x", "pullRequest": false}'
    assert httpx2.post(url, content=body, headers=OWNER).status_code == 400
    assert httpx2.get(url, headers=OWNER).status_code == 200


HOSTILE = {
    "README.md": [
        "---\n2024-01-01: x\n---\n",
        "---\na: .nan\nb: [.inf]\n---\n",
        "---\n? [a]\n: 1\n---\n",
        "---\nlibrary_name: [1]\npipeline_tag: {a: 1}\ntags: {a: 1}\n---\n",
        "---\nx: !!binary YQ==\n---\n",
        "---\ndatasets: 3\nlanguage: [1]\nlicense: {a: b}\nbase_model: [3]\n---\n",
        "---\n1: 2\n---\n",
    ],
    "config.json": [
        '{"architectures": [1]}',
        '{"architectures": 3, "model_type": NaN}',
        "[" * 5000,
        "[1]",
        '{"a": 1e999}',
        '{"model_type": {"a": "\\ud800"}}',
        '{"model_type": ["x"]}',
        "9" * 5000,
    ],
    "model.safetensors": [
        "[1]",
        '{"a": 1}',
        '{"a": {"dtype": [1], "shape": []}}',
        '{"a": {"dtype": "F32", "shape": ["x"]}}',
        '{"a": {"dtype": "F32", "shape": [' + ",".join(["9" * 4000] * 300) + "]}}",
        '{"a": {"dtype": "F32", "shape": 1}}',
        '{"a": {"dtype": "\\ud800", "shape": [1]}}',
        "[" * 5000,
    ],
}


def content_of(name: str, text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(8, "little") + data if name.endswith(".safetensors") else data


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, ts in HOSTILE.items() for t in ts])
def test_no_file_breaks_the_list(hub: Hub, org: str, name: str, text: str) -> None:
    repo = HfApi().create_repo(f"{org}/model").repo_id
    adds = [CommitOperationAdd(name, content_of(name, text))]
    try:
        HfApi().create_commit(repo, adds, commit_message="hostile")
    except (ValueError, HfHubHTTPError):  # the client asks first; others do not
        value = {"path": name, "encoding": "base64"}
        value["content"] = base64.b64encode(content_of(name, text)).decode()
        body = json.dumps({"key": "file", "value": value})
        url = f"{hub.endpoint}/api/models/{repo}/commit/main"
        assert httpx2.post(url, content=body, headers=OWNER).status_code == 200
    listed = httpx2.get(f"{hub.endpoint}/api/models?full=1&author={org}", headers=OWNER)
    assert [each["id"] for each in listed.json()] == [repo]
    assert httpx2.get(f"{hub.endpoint}/api/models/{repo}", headers=OWNER).status_code == 200
    HfApi().delete_repo(repo)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(["architectures", "model_type", "tags", "library_name", "license", "x"])


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(card=st.dictionaries(KEYS, JSON), config=JSON | st.dictionaries(KEYS, JSON), header=JSON)
def test_whatever_is_in_files_can_be_listed(
    tmp_path: Path, card: Any, config: Any, header: Any
) -> None:
    (tmp_path / "staging").mkdir(exist_ok=True)
    blobs = Blobs(tmp_path / "blobs", tmp_path / "staging")
    contents = {
        "README.md": f"---\n{json.dumps(card)}\n---\n".encode(),
        "config.json": json.dumps(config).encode(),
        "model.safetensors": content_of("x.safetensors", json.dumps({"a": header})),
    }
    files: Files = {n: plain_entry(data, blobs.add(data)) for n, data in contents.items()}
    assert lfs_entry("0" * 64, 1).lfs
    front = cards.safe_front_matter(contents["README.md"].decode())
    read = info._config(files, blobs)
    told = [
        front, read, cards.tags(front, files, read, "models"), info._parameters(files, blobs),
        cards.library(front, files, read), cards.task(front, read),
    ]  # fmt: skip
    json.dumps(told, allow_nan=False).encode()


def test_a_chunk_that_unfolds_into_gigabytes() -> None:
    packed = lz4.frame.compress(bytes(2**28))
    began = time.perf_counter()
    with pytest.raises(Refused):
        xet.decode(packed, xet.Chunk(offset=0, packed=len(packed), scheme=1, size=1000))
    assert time.perf_counter() - began < 1
    whole = lz4.frame.compress(b"abcd" * 100)
    assert xet.decode(whole, xet.Chunk(0, len(whole), 1, 400)) == b"abcd" * 100
