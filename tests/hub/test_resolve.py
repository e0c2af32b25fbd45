"""References become pinned checkpoints from headers alone, or an error that says what to do."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, constants
from safetensors.torch import save_file

from simmerge_hub import localhub
from simmerge_hub.errors import (
    CheckpointError,
    CorruptHeader,
    NoSafetensors,
    OfflineWithoutCache,
    RepoNotFound,
    RevisionNotFound,
    SimmergeError,
)
from simmerge_hub.hub import resolve as module
from simmerge_hub.hub.digest import digest, file_sha256
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.files.location import FileEntry
from simmerge_hub.hub.files.ranges import Span, read_spans
from simmerge_hub.hub.reference import remember_files, remembered_files
from simmerge_hub.hub.resolve import ModelRef, front_matter, resolve
from tests import nano

CARD = "---\nlicense: mit\nbase_model: org/base\n---\n# A model\n"
VISITOR = {"HF_TOKEN": "hf_visitor"}
NOBODY = {"HF_TOKEN": "", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


def repository(org: str, folder: Path, name: str = "model", **how: bool) -> str:
    repo = f"{org}/{name}"
    nano.push(folder, repo, **how)
    return repo


Elsewhere = Callable[..., str]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    """Resolve in a process of its own: what it says, with other environment variables."""

    def run(reference: str, **environment: str) -> str:
        script = """
            import sys
            from simmerge_hub.errors import SimmergeError
            from simmerge_hub.hub.resolve import resolve
            try:
                checkpoint = resolve(sys.argv[1])
                print(checkpoint.kind, checkpoint.commit)
            except SimmergeError as error:
                print(type(error).__name__, error, error.hint, sep="|", end="")
        """
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), reference],
            env={**os.environ, "HF_HOME": str(tmp_path / "home"), **environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    return run


class TestFolders:
    def test_a_model(self, tmp_path: Path) -> None:
        tensors = nano.weights()
        checkpoint = resolve(str(nano.save(tmp_path / "model", tensors, card=CARD)))
        assert (checkpoint.kind, checkpoint.commit, checkpoint.name) == ("full", None, "model")
        assert checkpoint.license == "mit"
        assert checkpoint.parents == ("org/base",)
        assert checkpoint.tokenizer_files == ("tokenizer.json", "tokenizer_config.json")
        assert checkpoint.config["model_type"] == "llama"
        assert {n: h.shape for n, h in checkpoint.tensors.items()} == {
            n: tuple(t.shape) for n, t in tensors.items()
        }

    def test_shards_are_one_model(self, tmp_path: Path) -> None:
        checkpoint = resolve(str(nano.model(tmp_path / "model", shards=3)))
        assert set(checkpoint.tensors) == set(nano.weights())
        assert {h.file for h in checkpoint.tensors.values()} == {
            f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)
        }

    def test_an_adapter(self, tmp_path: Path) -> None:
        checkpoint = resolve(str(nano.lora(tmp_path / "lora", base="org/base")))
        assert checkpoint.kind == "adapter"
        assert checkpoint.parents == ("org/base",)
        assert checkpoint.config["lora_alpha"] == 4

    def test_the_adapter_config_outweighs_the_card(self, tmp_path: Path) -> None:
        folder = nano.lora(tmp_path / "lora", base="org/really")
        (folder / "README.md").write_text(CARD)
        assert resolve(str(folder)).parents == ("org/really",)

    def test_a_folder_that_is_gone(self, tmp_path: Path) -> None:
        with pytest.raises(RepoNotFound) as caught:
            resolve(ModelRef(folder=tmp_path / "gone"))
        assert str(caught.value) == f"there is no folder {tmp_path}/gone"
        assert caught.value.hint == "check the path of the model"

    def test_no_safetensors(self, tmp_path: Path) -> None:
        (tmp_path / "model.pt").write_bytes(b"x")
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(NoSafetensors) as caught:
            resolve(str(tmp_path))
        assert str(caught.value) == f"{tmp_path} has no safetensors weights (it has model.pt)"
        assert "save_pretrained()" in caught.value.hint

    def test_no_weights_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(NoSafetensors, match=r"\(it has 1 file\)"):
            resolve(str(tmp_path))

    @pytest.mark.parametrize("config", [None, "", "[]", "{", "null"])
    def test_no_readable_config(self, tmp_path: Path, config: str | None) -> None:
        folder = nano.model(tmp_path / "model")
        (folder / "config.json").unlink()
        if config is not None:
            (folder / "config.json").write_text(config)
        with pytest.raises(CheckpointError) as caught:
            resolve(str(folder))
        assert str(caught.value).startswith(f"{folder} has no readable config.json: ")

    def test_a_missing_shard(self, tmp_path: Path) -> None:
        folder = nano.model(tmp_path / "model", shards=2)
        (folder / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(CorruptHeader) as caught:
            resolve(str(folder))
        assert "the index names model-00002-of-00002.safetensors, which is not there" in str(
            caught.value
        )
        assert "incomplete" in caught.value.hint

    def test_a_tensor_in_two_shards(self, tmp_path: Path) -> None:
        folder = nano.model(tmp_path / "model", shards=2)
        shard = folder / "model-00001-of-00002.safetensors"
        save_file(nano.weights(), shard)
        with pytest.raises(CorruptHeader, match="is in two shards"):
            resolve(str(folder))

    def test_an_index_that_promises_what_no_shard_has(self, tmp_path: Path) -> None:
        """A stale index beside newer shards (PEERS, fault 3)."""
        folder = nano.model(tmp_path / "model", shards=2)
        index = json.loads((folder / nano.INDEX).read_text())
        index["weight_map"]["model.extra.weight"] = "model-00001-of-00002.safetensors"
        (folder / nano.INDEX).write_text(json.dumps(index))
        with pytest.raises(CorruptHeader) as caught:
            resolve(str(folder))
        assert (
            "the index names model.extra.weight, which is not in model-00001-of-00002.safetensors"
            in str(caught.value)
        )

    def test_a_corrupt_header(self, tmp_path: Path) -> None:
        folder = nano.model(tmp_path / "model")
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[:-1])
        said = r"model: model\.safetensors cannot be believed: the tens"  # of several, this one
        with pytest.raises(CorruptHeader, match=said):
            resolve(str(folder))

    def test_a_corrupt_index(self, tmp_path: Path) -> None:
        folder = nano.model(tmp_path / "model", shards=2)
        (folder / nano.INDEX).write_text("{")
        with pytest.raises(CorruptHeader, match=f"model: {nano.INDEX} cannot be believed: it is"):
            resolve(str(folder))

    def test_a_folder_without_any_weights(self, tmp_path: Path) -> None:
        """There is nothing that could be loaded and saved again."""
        with pytest.raises(NoSafetensors, match=r"\(it has 0 files\)$") as caught:
            resolve(str(tmp_path))
        assert caught.value.hint.startswith("name a folder or repository that save_pretrained() ")

    def test_one_file_is_preferred_to_an_index(self, tmp_path: Path) -> None:
        """As transformers does: a stale index beside model.safetensors is not looked at."""
        single = resolve(str(nano.model(tmp_path / "single", 1)))
        both = nano.model(tmp_path / "both", 0, shards=2)
        shutil.copy(tmp_path / "single" / "model.safetensors", both)
        checkpoint = resolve(str(both))
        assert {h.file for h in checkpoint.tensors.values()} == {"model.safetensors"}
        assert checkpoint.tensors == single.tensors
        (both / nano.INDEX).write_text("rubbish")
        assert resolve(str(both)).tensors == single.tensors

    @pytest.mark.parametrize("path", ["/etc/passwd", "../secret.safetensors"])
    def test_an_index_cannot_reach_out_of_the_folder(self, tmp_path: Path, path: str) -> None:
        folder = nano.model(tmp_path / "model", shards=2)
        (folder / nano.INDEX).write_text(json.dumps({"weight_map": {"a": path}}))
        with pytest.raises(CorruptHeader, match="which is no plain file"):
            resolve(str(folder))


class TestRepositories:
    def test_a_model_here_and_there_is_the_same(
        self, hub: localhub.Hub, org: str, tmp_path: Path
    ) -> None:
        folder = nano.model(tmp_path / "model", shards=2, card=CARD)
        repo = f"{org}/model"
        commit = nano.push(folder, repo)
        checkpoint, here = resolve(repo), resolve(str(folder))
        assert checkpoint.commit == commit
        assert checkpoint.name == repo
        assert checkpoint.tensors == here.tensors
        assert checkpoint.config == here.config
        assert checkpoint.card == here.card
        assert digest(checkpoint) == digest(here)

    def test_a_branch_a_tag_and_a_commit(self, hub: localhub.Hub, org: str, tmp_path: Path) -> None:
        repo, api = f"{org}/model", HfApi()
        first = nano.push(nano.model(tmp_path / "one", card=CARD), repo)
        api.create_tag(repo, tag="v1", revision=first)
        api.create_branch(repo, branch="try/it", revision=first)
        second = nano.push(nano.model(tmp_path / "two", 1), repo)
        assert resolve(repo).commit == second
        for revision in ("v1", "try/it", first, first[:8]):
            assert resolve(f"{repo}@{revision}").commit == first

    def test_an_adapter(self, hub: localhub.Hub, org: str, tmp_path: Path) -> None:
        checkpoint = resolve(repository(org, nano.lora(tmp_path / "lora", base="org/base"), "lora"))
        assert checkpoint.kind == "adapter"
        assert len(checkpoint.tensors) == 2

    def test_no_weight_file_is_fetched(
        self, hub: localhub.Hub, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tensors = {"big": torch.zeros(1000, 1000), **nano.weights()}
        repo = repository(org, nano.save(tmp_path / "model", tensors, card=CARD))
        asked: list[Span] = []
        read = module.read_spans

        def recorded(location, file, spans):
            asked.extend(spans)
            return read(location, file, spans)

        monkeypatch.setattr(module, "read_spans", recorded)
        checkpoint = resolve(repo)
        start = min(h.start for h in checkpoint.tensors.values())
        assert asked == [(0, 8), (8, start)]
        cached = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
        names = {p.name for p in cached.rglob("*") if p.parent.parent.name == "snapshots"}
        assert names == {"config.json", "README.md"}
        assert (
            file_sha256(checkpoint, "model.safetensors")
            == checkpoint.files["model.safetensors"].sha256
        )
        assert not list(cached.rglob("*.safetensors"))

    def test_no_such_repository(self, hub: localhub.Hub, org: str) -> None:
        with pytest.raises(RepoNotFound) as caught:
            resolve(f"{org}/nothing")
        assert str(caught.value) == (
            f"there is no model {org}/nothing, or it is private and the token does not open it"
        )
        assert caught.value.hint == (
            "check the spelling; for a private repository, log in: hf auth login"
        )

    def test_no_such_revision(self, hub: localhub.Hub, org: str, tmp_path: Path) -> None:
        repo = repository(org, nano.model(tmp_path / "model"))
        with pytest.raises(RevisionNotFound) as caught:
            resolve(f"{repo}@v9")
        assert str(caught.value) == f"{repo} has no revision 'v9'"
        assert caught.value.hint == (
            f"branches, tags and commits are listed at {hub.endpoint}/{repo}/tree/main"
        )

    def test_no_safetensors(self, hub: localhub.Hub, org: str, tmp_path: Path) -> None:
        (tmp_path / "model.gguf").write_bytes(b"GGUF")
        repo = repository(org, tmp_path)
        with pytest.raises(NoSafetensors) as caught:
            resolve(repo)
        assert str(caught.value) == f"{repo} has no safetensors weights (it has model.gguf)"
        assert caught.value.hint == "GGUF cannot be merged; use the original repository"

    def test_only_gguf_of_a_named_original(self, tmp_path: Path) -> None:
        (tmp_path / "model-q4.gguf").write_bytes(b"GGUF")
        (tmp_path / "README.md").write_text(CARD)
        with pytest.raises(NoSafetensors) as caught:
            resolve(str(tmp_path))
        assert caught.value.hint == "GGUF cannot be merged; use the original repository, org/base"

    def test_a_corrupt_header(self, hub: localhub.Hub, org: str, tmp_path: Path) -> None:
        folder = nano.model(tmp_path / "model")
        with open(folder / "model.safetensors", "ab") as file:
            file.write(b"\0")
        with pytest.raises(CorruptHeader) as caught:
            resolve(repository(org, folder))
        assert "model.safetensors cannot be believed: the tensors end at byte" in str(caught.value)
        assert "fetch it again or ask its author" in caught.value.hint

    def test_an_empty_weight_file(self, hub: localhub.Hub, org: str, tmp_path: Path) -> None:
        folder = nano.model(tmp_path / "model")
        (folder / "model.safetensors").write_bytes(b"")
        with pytest.raises(CorruptHeader, match="the file has only 0 bytes"):
            resolve(repository(org, folder))


class TestElsewhere:
    """Errors that depend on how a process was started."""

    def test_a_private_repository_without_a_token(
        self, hub: localhub.Hub, org: str, tmp_path: Path, elsewhere: Elsewhere
    ) -> None:
        repo = repository(org, nano.model(tmp_path / "model"), private=True)
        assert elsewhere(repo, **NOBODY) == (
            f"RepoNotFound|there is no model {repo}, or it is private and the token does not "
            "open it|check the spelling; for a private repository, log in: hf auth login"
        )
        assert elsewhere(repo).startswith("full ")

    def test_a_gated_repository(
        self, hub: localhub.Hub, org: str, tmp_path: Path, elsewhere: Elsewhere
    ) -> None:
        repo = repository(org, nano.model(tmp_path / "model"))
        HfApi().update_repo_settings(repo, gated="auto")
        assert elsewhere(repo, **VISITOR) == (
            f"GatedRepo|{repo} is gated, and this account has no access yet|"
            f"ask for it at {hub.endpoint}/{repo}, then: hf auth login"
        )

    def test_a_token_the_hub_does_not_know(
        self, hub: localhub.Hub, org: str, elsewhere: Elsewhere
    ) -> None:
        assert elsewhere(f"{org}/model", HF_TOKEN="hf_wrong") == (
            "HubError|the Hub does not accept the token|"
            "correct HF_TOKEN, or unset it and log in: hf auth login"
        )

    def test_nothing_answers(self, elsewhere: Elsewhere) -> None:
        said = elsewhere("org/model", HF_ENDPOINT="http://127.0.0.1:9")
        assert said.startswith("EndpointDown|nothing answers at http://127.0.0.1:9 (")
        assert said.endswith(
            "|check the network and HF_ENDPOINT, or work from the cache with HF_HUB_OFFLINE=1"
        )

    def test_offline(
        self, hub: localhub.Hub, org: str, tmp_path: Path, elsewhere: Elsewhere
    ) -> None:
        """Without cache; with headers only; with the weights."""
        repo = repository(org, nano.model(tmp_path / "model", card=CARD))
        hint = "unset HF_HUB_OFFLINE once to fetch it; after that it works offline"
        assert elsewhere(repo, HF_HUB_OFFLINE="1") == (
            f"OfflineWithoutCache|offline mode is on, and the cache does not hold {repo}|{hint}"
        )
        assert elsewhere(repo).startswith("full ")
        assert elsewhere(repo, HF_HUB_OFFLINE="1") == (
            "OfflineWithoutCache|offline mode is on, and the cache does not hold "
            f"model.safetensors of {repo}|{hint}"
        )
        assert elsewhere(f"{repo}@v9", HF_HUB_OFFLINE="1") == (
            f"OfflineWithoutCache|offline mode is on, and the cache does not hold {repo}@v9|{hint}"
        )
        HfApi().snapshot_download(repo, cache_dir=tmp_path / "home" / "hub")
        assert elsewhere(repo, HF_HUB_OFFLINE="1") == f"full {resolve(repo).commit}\n"

    def test_offline_with_what_another_program_fetched(
        self, hub: localhub.Hub, org: str, tmp_path: Path, elsewhere: Elsewhere
    ) -> None:
        """Only the config; then the weights, which are merged with the wrong tokenizer, or none."""
        repo = repository(org, nano.model(tmp_path / "model", card=CARD))
        for pattern, lacks in (("config.json", "weights"), ("*.safetensors", "tokenizer")):
            HfApi().snapshot_download(
                repo, cache_dir=tmp_path / "home" / "hub", allow_patterns=pattern
            )
            assert elsewhere(repo, HF_HUB_OFFLINE="1") == (
                "OfflineWithoutCache|offline mode is on, and the cache does not hold the "
                f"{lacks} of {repo}|"
                "unset HF_HUB_OFFLINE once to fetch it; after that it works offline"
            )

    def test_offline_after_another_program_fetched_a_part(
        self, hub: localhub.Hub, org: str, tmp_path: Path, elsewhere: Elsewhere
    ) -> None:
        """The client lists then what there is, and missed what nobody needs (`.gitattributes`)."""
        folder = nano.model(tmp_path / "model", card=CARD)
        (folder / "model.gguf").write_bytes(b"GGUF")
        repo = repository(org, folder)
        cache = tmp_path / "home" / "hub"
        HfApi().snapshot_download(repo, cache_dir=cache, allow_patterns=["*.safetensors", "*.json"])
        assert elsewhere(repo, HF_HUB_OFFLINE="1") == f"full {resolve(repo).commit}\n"

    def test_offline_a_model_that_has_no_tokenizer(
        self, hub: localhub.Hub, org: str, tmp_path: Path, elsewhere: Elsewhere
    ) -> None:
        """What was listed once is known to have none."""
        repo = repository(org, nano.model(tmp_path / "model", tokenizer=False))
        online = elsewhere(repo)
        HfApi().snapshot_download(repo, cache_dir=tmp_path / "home" / "hub")
        assert elsewhere(repo, HF_HUB_OFFLINE="1") == online

    def test_offline_such_a_model_that_another_program_fetched_whole(
        self, hub: localhub.Hub, org: str, tmp_path: Path, elsewhere: Elsewhere
    ) -> None:
        """Whoever fetched it listed what there is, and all of it is here."""
        repo = repository(org, nano.model(tmp_path / "model", tokenizer=False))
        commit = HfApi().model_info(repo).sha
        HfApi().snapshot_download(repo, cache_dir=tmp_path / "home" / "hub")
        assert elsewhere(repo, HF_HUB_OFFLINE="1") == f"full {commit}\n"

    def test_a_note_of_files_that_cannot_be_read_is_written_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("simmerge_hub.hub.reference.assets_folder", lambda *_: tmp_path)
        files, commit = {"config.json": FileEntry(size=3)}, "0" * 40
        remember_files("org/a", commit, files)
        note = tmp_path / f"{commit}.json"
        note.write_text('{"config.json": {"size": 3, "newer": 1}}')
        assert remembered_files("org/a", commit) is None
        remember_files("org/a", commit, files)
        assert remembered_files("org/a", commit) == files

    def test_offline_a_file_that_was_not_fetched(
        self, hub: localhub.Hub, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is known to be there: the model is the same, and whoever reads the file is told."""
        repo = repository(org, nano.model(tmp_path / "model", card=CARD))
        online = resolve(repo)
        local_file(online.location, "model.safetensors")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        offline = resolve(repo)
        assert set(offline.files) == set(online.files)
        assert offline.tokenizer_files == ("tokenizer.json", "tokenizer_config.json")
        for read in (
            lambda: local_file(offline.location, "tokenizer.json"),
            lambda: read_spans(offline.location, "tokenizer.json", [(0, 1)]),
        ):
            with pytest.raises(OfflineWithoutCache) as caught:
                read()
            assert str(caught.value) == (
                f"offline mode is on, and the cache does not hold tokenizer.json of {repo}"
            )


class TestFrontMatter:
    @pytest.mark.parametrize(
        ("readme", "expected"),
        [
            ("---\nlicense: mit\n---\n# Title", {"license": "mit"}),
            ("\ufeff---\r\nlicense: mit\r\n---\r\n", {"license": "mit"}),
            ("# Title\n---\nlicense: mit\n---\n", {}),
            ("", {}),
            ("---\n- a\n---\n", {}),
            ("---\na: [\n---\n", {}),
            ("---\ndate: 2024-13-45\n---\n", {"date": "2024-13-45"}),
            ("---\nlicense: mit\nlicense: apache-2.0\n---\n", {}),
            ("---\na: !!python/object/apply:os.system ['true']\n---\n", {}),
            ("---\n" + "[" * 500 + "\n---\n", {}),
        ],
        ids=range(10),
    )
    def test_read(self, readme: str, expected: dict) -> None:
        assert front_matter(readme) == expected

    @pytest.mark.parametrize(
        ("stated", "license", "parents"),
        [
            ("license: mit\nbase_model: [org/a, org/b]", "mit", ("org/a", "org/b")),
            ("license: [mit, apache-2.0]\nbase_model: []", "mit, apache-2.0", ()),
            ("license: 3\nbase_model: 3", None, ()),
            ("license: {a: b}\nbase_model: [null, org/a, 3]", None, ("org/a",)),
            ("base_model: {a: b}", None, ()),
        ],
    )
    def test_odd_values_are_ignored(
        self, tmp_path: Path, stated: str, license: str | None, parents: tuple[str, ...]
    ) -> None:
        checkpoint = resolve(str(nano.model(tmp_path / "model", card=f"---\n{stated}\n---\n")))
        assert checkpoint.license == license
        assert checkpoint.parents == parents

    def test_a_yaml_bomb_is_never_written_out(self, tmp_path: Path) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 7)]
        card = "---\n" + "\n".join([*lines, "license: *a6", "base_model: *a6"]) + "\n---\n"
        checkpoint = resolve(str(nano.model(tmp_path / "model", card=card)))
        assert checkpoint.license is None
        assert checkpoint.parents == ()


def test_every_error_has_a_hint(hub: localhub.Hub, org: str, tmp_path: Path) -> None:
    for reference in (f"{org}/nothing", "./nothing", str(tmp_path)):
        with pytest.raises(SimmergeError) as caught:
            resolve(reference)
        assert caught.value.hint


def test_shards_without_an_index_are_read(tmp_path: Path) -> None:
    folder = nano.save(tmp_path / "a", nano.weights())
    whole = resolve(str(folder)).tensors
    tensors = nano.load(folder)
    (folder / "model.safetensors").unlink()
    for number in (1, 2):
        part = {n: t for i, (n, t) in enumerate(tensors.items()) if i % 2 == number - 1}
        save_file(part, folder / f"model-0000{number}-of-00002.safetensors")
    assert resolve(str(folder)).tensors.keys() == whole.keys()
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CorruptHeader, match="of 2 shards 1 are there, and no index"):
        resolve(str(folder))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("model.fp16.safetensors", "variant='fp16'"),
        ("model.fp16-00001-of-00001.safetensors", "variant='fp16'"),
        ("consolidated.safetensors", "in the layout of Mistral's or Meta's own code"),
        ("weights.safetensors", "rename the file to model.safetensors"),
    ],
)
def test_weights_of_another_name_are_named(name: str, advice: str, tmp_path: Path) -> None:
    folder = nano.save(tmp_path / "a", nano.weights())
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(NoSafetensors) as caught:
        resolve(str(folder))
    assert str(caught.value).endswith(f"has no model.safetensors; it has {name}")
    assert advice in caught.value.hint
