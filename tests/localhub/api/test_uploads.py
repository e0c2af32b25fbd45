"""Large files through Xet (the client's default) and LFS, byte for byte."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.utils import build_hf_headers, get_session

from simmerge_hub.localhub import Hub

RNG = np.random.default_rng(7)
CONTENTS = {
    "random": RNG.bytes(700_000),
    "zeros": bytes(700_000),
    "floats": RNG.standard_normal(200_000, dtype=np.float32).tobytes(),
    "odd length": RNG.standard_normal(50_000, dtype=np.float32).tobytes() + b"xyz",
    "repeated": RNG.bytes(100_000) * 8,
    "tiny": b"\0",
    "text": b"the same line again and again\n" * 20_000,
}


def same(path: str, data: bytes) -> bool:
    return hashlib.sha256(Path(path).read_bytes()).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("name", CONTENTS)
def test_bytes_survive_xet(api: HfApi, repo: str, name: str) -> None:
    api.upload_file(path_or_fileobj=CONTENTS[name], path_in_repo="w.bin", repo_id=repo)
    assert same(hf_hub_download(repo, "w.bin"), CONTENTS[name])


def test_thirty_megabytes_survive_xet(api: HfApi, repo: str, tmp_path: Path) -> None:
    data = RNG.standard_normal(6_000_000, dtype=np.float32).tobytes() + bytes(6_000_000)
    source = tmp_path / "model.safetensors"
    source.write_bytes(data)
    api.upload_file(path_or_fileobj=source, path_in_repo=source.name, repo_id=repo)
    assert same(hf_hub_download(repo, source.name), data)


def test_edited_files_reuse_chunks_and_survive(api: HfApi, repo: str) -> None:
    data = RNG.bytes(2_000_000)
    for version in (
        data,
        data[:900_000] + b"insert" + data[900_000:],
        data[500_000:] + data[:500_000],
    ):
        api.upload_file(path_or_fileobj=version, path_in_repo="w.bin", repo_id=repo)
        assert same(hf_hub_download(repo, "w.bin"), version)


def test_many_large_files_in_one_commit(api: HfApi, repo: str, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.bin").write_bytes(RNG.bytes(1000 + 40_000 * number))
    api.upload_folder(repo_id=repo, folder_path=tmp_path)
    for number in range(12):
        name = f"{number}.bin"
        assert same(hf_hub_download(repo, name), (tmp_path / name).read_bytes())


def test_lfs_without_xet(hub: Hub, api: HfApi, repo: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(CONTENTS["random"] + b"lfs")
    script = (
        "import sys; from huggingface_hub import upload_file;"
        "upload_file(path_or_fileobj=sys.argv[1], path_in_repo='w.bin', repo_id=sys.argv[2])"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "w.bin"), repo]
    for _ in range(2):  # the second time nothing needs to be sent
        subprocess.run(
            command, env={**os.environ, "HF_HUB_DISABLE_XET": "1"}, check=True, timeout=60
        )
    assert same(hf_hub_download(repo, "w.bin"), CONTENTS["random"] + b"lfs")


def lfs_action(api: HfApi, repo: str, data: bytes) -> str:
    payload = {
        "operation": "upload",
        "objects": [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}],
    }
    url = f"{api.endpoint}/{repo}.git/info/lfs/objects/batch"
    answer = get_session().post(url, json=payload, headers=build_hf_headers())
    return answer.json()["objects"][0]["actions"]["upload"]["href"]


def test_lfs_refuses_other_bytes_than_promised(api: HfApi, repo: str) -> None:
    href = lfs_action(api, repo, b"promised")
    assert get_session().put(href, content=b"something else").status_code == 400
    assert get_session().put(href, content=b"promised").status_code == 200


def test_lfs_slips_cannot_be_forged_or_reused(api: HfApi, repo: str) -> None:
    href = lfs_action(api, repo, b"one object")
    other = hashlib.sha256(b"another").hexdigest()
    user, slip = href.split("/")[-2:]
    lfs = f"{api.endpoint}/lfs"
    for url in (
        f"{lfs}/{other}/{user}/{slip}",
        f"{href}0",
        f"{lfs}/{other}/{user}/x",
        href.replace(f"/{user}/", "/visitor/"),
    ):
        assert get_session().put(url, content=b"another").status_code == 401


def xet_headers(api: HfApi, repo: str) -> tuple[str, dict[str, str]]:
    url = f"{api.endpoint}/api/models/{repo}/xet-write-token/main"
    token = get_session().get(url, headers=build_hf_headers()).json()
    return token["casUrl"], {"Authorization": f"Bearer {token['accessToken']}"}


def test_xet_refuses_rubbish(api: HfApi, repo: str) -> None:
    cas, headers = xet_headers(api, repo)
    xorb = f"{cas}/v1/xorbs/default/{'a' * 64}"
    assert get_session().post(xorb, content=b"rubbish", headers=headers).status_code == 400
    assert (
        get_session().post(f"{cas}/v1/shards", content=b"rubbish", headers=headers).status_code
        == 400
    )
    bad_name = f"{cas}/v1/xorbs/default/..%2F..%2Fescape"
    assert get_session().post(bad_name, content=b"", headers=headers).status_code == 400


def test_xet_needs_its_own_token_and_a_current_address(api: HfApi, repo: str) -> None:
    cas, headers = xet_headers(api, repo)
    xorb = f"/v1/xorbs/default/{'a' * 64}"
    assert get_session().post(f"{cas}{xorb}", content=b"").status_code == 401
    assert (
        get_session().post(f"{cas}{xorb}", content=b"", headers=build_hf_headers()).status_code
        == 401
    )
    old = f"{api.endpoint}/xet/{'0' * 32}"
    assert get_session().post(f"{old}{xorb}", content=b"", headers=headers).status_code == 404


def test_xet_write_tokens_are_for_writers(visitor: HfApi, anonymous: HfApi, repo: str) -> None:
    url = f"{visitor.endpoint}/api/models/{repo}/xet-write-token/main"
    for token, status in (("hf_visitor", 403), (False, 401)):
        assert get_session().get(url, headers=build_hf_headers(token=token)).status_code == status
