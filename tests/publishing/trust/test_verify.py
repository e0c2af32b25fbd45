"""A merge against the digests it recorded, in a folder and on a Hub."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, snapshot_download

from simmerge_hub.errors import CheckpointError, OfflineWithoutCache, OutputError
from simmerge_hub.hub import reference
from simmerge_hub.hub.files import cached
from simmerge_hub.hub.files.checksums import CHECKSUMS_FILE
from simmerge_hub.publishing.trust.verify import verify, warn_of_changes
from simmerge_hub.publishing.verbs import merge, push
from simmerge_hub.recipe import Recipe, Source, Step
from tests import nano


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    """The mean of two models, in two shards."""
    for seed, name in enumerate("ab"):
        nano.save(tmp_path / name, nano.weights(seed))
    mean = Recipe(
        base=None,
        models=tuple(Source(name=name, folder=tmp_path / name) for name in "ab"),
        steps=(Step(operator="linear", models=("a", "b"), parameters={}),),
        shard_size=10_000,
    )
    return merge(mean, tmp_path / "merged").folder


def test_what_the_merge_wrote(merged: Path) -> None:
    seen = verify(merged)
    assert seen.holds
    unlisted = {"README.md", "merge-tree.svg", "SHA256SUMS"}
    assert seen.match == len(list(merged.iterdir())) - len(unlisted)
    (merged / "merge-tree.svg").write_text("redrawn")
    assert verify(merged).holds
    assert seen.explain() == ""


def test_each_kind_of_change(merged: Path) -> None:
    (merged / "config.json").write_text("{}")
    (merged / "tokenizer.json").unlink()
    for name in ("a", "b", "c", "d", ".hidden"):
        (merged / name).write_text("")
    (merged / "README.md").write_text("mine")
    seen = verify(merged)
    assert (seen.differ, seen.missing) == (("config.json",), ("tokenizer.json",))
    assert seen.extra == ("a", "b", "c", "d")
    assert seen.explain() == (
        "differs: config.json; missing: tokenizer.json; extra: a, b, c and 1 more"
    )


@pytest.mark.parametrize("place", [0, 100, -1])
def test_one_flipped_bit_of_any_shard(merged: Path, place: int) -> None:
    for shard in sorted(merged.glob("model-*.safetensors")):
        before = shard.read_bytes()
        data = bytearray(before)
        data[place] ^= 1
        shard.write_bytes(data)
        assert verify(merged).differ == (shard.name,)
        shard.write_bytes(before)
    assert verify(merged).holds


def test_what_records_nothing(merged: Path) -> None:
    (merged / CHECKSUMS_FILE).write_text("x")
    with pytest.raises(CheckpointError, match="is not a list of sha256"):
        verify(merged)
    (merged / CHECKSUMS_FILE).unlink()
    with pytest.raises(OutputError, match="has no SHA256SUMS"):
        verify(merged)


def test_a_link_that_leads_out_is_refused(merged: Path, tmp_path: Path) -> None:
    (merged / "config.json").rename(tmp_path / "config.json")
    (merged / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="outside of the folder"):
        verify(merged)


class TestRepository:
    def test_no_weight_is_downloaded(
        self, merged: Path, org: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repo = push(merged, f"{org}/merged").repo
        fetched = []
        download = cached.hf_hub_download

        def watch(repo: str, file: str, **how: Any) -> str:
            fetched.append(file)
            return download(repo, file, **how)

        monkeypatch.setattr(cached, "hf_hub_download", watch)
        seen = verify(repo)
        assert seen.holds
        assert seen.match == verify(merged).match
        assert CHECKSUMS_FILE in fetched
        assert not [name for name in fetched if name.endswith(".safetensors")]

    def test_changes_on_the_hub(self, merged: Path, org: str) -> None:
        done = push(merged, f"{org}/merged")
        shard = min(merged.glob("model-*.safetensors"))
        data = bytearray(shard.read_bytes())
        data[-1] ^= 1
        for name, content in (
            (shard.name, bytes(data)), ("config.json", b"{}"), ("notes.txt", b"x"),
            ("simmerge/signature.safetensors", b"x"), ("README.md", b"---\nlicense: mit\n---\n"),
        ):  # fmt: skip
            HfApi().upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=done.repo)
        HfApi().delete_file("tokenizer.json", done.repo)
        seen = verify(done.repo)
        assert seen.differ == ("config.json", shard.name)
        assert (seen.missing, seen.extra) == (("tokenizer.json",), ("notes.txt",))
        assert verify(f"{done.repo}@{done.oid}").holds

    def test_what_is_no_merge(self, merged: Path, org: str) -> None:
        nano.push(merged.parent / "a", f"{org}/a")
        with pytest.raises(OutputError, match=f"{org}/a has no SHA256SUMS"):
            verify(f"{org}/a")

    def test_offline_the_cache_is_read(
        self, merged: Path, org: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repo = push(merged, f"{org}/merged").repo
        folder = Path(snapshot_download(repo))
        monkeypatch.setattr(reference, "offline", lambda: True)
        assert verify(repo).holds
        assert verify(folder).holds
        shard = min(folder.glob("model-*.safetensors"))
        blob = shard.resolve()
        blob.chmod(0o600)
        blob.write_bytes(blob.read_bytes()[:-1])
        assert verify(repo).differ == (shard.name,)

    def test_offline_without_the_weights(
        self, merged: Path, org: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repo = push(merged, f"{org}/merged").repo
        assert verify(repo).holds
        monkeypatch.setattr(reference, "offline", lambda: True)
        with pytest.raises(OfflineWithoutCache, match=r"does not hold model-\d+-of-\d+"):
            verify(repo)


@pytest.mark.parametrize("front", ["", "---\nlicense: mit\n---\n\n"])
def test_a_card_says_first_what_changed(front: str) -> None:
    text = warn_of_changes(f"{front}# Title\n", "extra: <b>.txt")
    assert text.startswith(
        f"{front}> **These are not the files that the merge wrote:** extra: &lt;b>"
    )
    assert text.endswith("\n\n# Title\n")
