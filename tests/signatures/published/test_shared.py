"""Signatures on the Hub: where they are looked for, what is believed, who gets to see them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi

from simmerge_hub.errors import HubError, PushFailed, RepoNotFound, SignatureError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.hub.upload import attachments
from simmerge_hub.hub.upload.attachments import Attachment
from simmerge_hub.signatures.published import shared
from simmerge_hub.signatures.published.shared import find_or_sign, publish, size_of
from simmerge_hub.signatures.signing import signature
from simmerge_hub.signatures.signing.signature import Request, Settings, Signature, save, sign
from simmerge_hub.units import spell_bytes
from tests import nano

TASK = "strings"


@pytest.fixture
def repo(family: Any, org: str) -> str:
    """The expert of the family, on the Hub."""
    nano.push(family.checkpoints["expert"].ref.folder, f"{org}/model")
    return f"{org}/model"


@pytest.fixture
def wanted(repo: str, family: Any, assets: Path) -> Request:
    """Nothing of it is cached."""
    return Request(checkpoint=resolve(repo), probe_sets=(family.probes,))


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("it was computed")

    monkeypatch.setattr(signature, "run_probes", fail)
    monkeypatch.setattr(signature, "read_sample", fail)


def put(
    signature: Signature, wanted: Request, repo: str, tmp_path: Path, kind: str = "model"
) -> None:
    """Upload any signature, without the checks of `publish`."""
    file = tmp_path / "any.safetensors"
    save(signature, file)
    upload(file.read_bytes(), wanted, repo, kind)


def upload(data: bytes, wanted: Request, repo: str, kind: str = "model") -> None:
    api = HfApi()
    api.create_repo(repo, repo_type=kind, exist_ok=True)
    path = f"simmerge/{wanted.identity}.safetensors"
    api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=repo, repo_type=kind)


class TestFinding:
    def test_published_beside_its_model_it_is_found(
        self, family: Any, wanted: Request, repo: str, nothing_computed: None
    ) -> None:
        before = wanted.identity
        done = publish(family.expert, wanted)
        assert done is not None
        assert f"simmerge/{before}.safetensors" in HfApi().list_repo_files(repo)
        assert HfApi().list_repo_commits(repo)[0].title == "Signature of expert"
        later = replace(wanted, checkpoint=resolve(repo))
        assert later.identity == before
        for request in (wanted, later):
            signed = find_or_sign(request)
            assert signed.origins == {"weights": repo, TASK: repo}
            assert (signed.signature.name, signed.signature.commit) == (
                repo, request.checkpoint.commit,
            )  # fmt: skip
            for name, tensor in family.expert.sampled.items():
                assert torch.equal(signed.signature.sampled[name], tensor)

    def test_the_cache_comes_first(
        self, family: Any, wanted: Request, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(family.expert, wanted)
        sign(wanted.checkpoint, probe_sets=wanted.probe_sets)
        monkeypatch.setattr(shared, "find", None)
        assert find_or_sign(wanted).origins == {"weights": "cache", TASK: "cache"}

    def test_what_is_nowhere_is_computed_and_said_before(self, wanted: Request) -> None:
        notes: list[str] = []
        assert find_or_sign(wanted, note=notes.append).origins == {
            "weights": "computed",
            TASK: "computed",
        }
        size = wanted.checkpoint.files["model.safetensors"].size
        assert notes == [
            f"{wanted.checkpoint.name}: {spell_bytes(size)} are downloaded to run its probes"
        ]
        assert find_or_sign(wanted, note=notes.append).origins == {
            "weights": "cache",
            TASK: "cache",
        }
        assert len(notes) == 1

    def test_the_part_that_is_not_published_is_computed(
        self, family: Any, wanted: Request, repo: str
    ) -> None:
        publish(replace(family.expert, sketches={}), wanted)
        assert find_or_sign(wanted).origins == {"weights": repo, TASK: "computed"}
        assert find_or_sign(wanted).origins == {"weights": repo, TASK: "cache"}

    def test_what_others_computed_is_never_cached(
        self, family: Any, wanted: Request, assets: Path
    ) -> None:
        publish(family.expert, wanted)
        find_or_sign(wanted)
        assert not list(assets.rglob("*.safetensors"))

    def test_a_folder_is_not_looked_up(self, family: Any, assets: Path, monkeypatch: Any) -> None:
        monkeypatch.setattr(shared, "find", None)
        request = Request(checkpoint=family.checkpoints["expert"])
        assert find_or_sign(request).origins == {"weights": "computed"}

    def test_a_hub_that_refuses_is_no_obstacle(
        self, wanted: Request, repo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise HubError("it is closed")

        monkeypatch.setattr(shared, "find", refuse)
        notes: list[str] = []
        request = replace(wanted, probe_sets=())
        made = find_or_sign(request, third_parties=["org/other"], note=notes.append)
        assert made.origins == {"weights": "computed"}
        assert notes == [
            f"{at}: signatures cannot be looked for: it is closed" for at in (repo, "org/other")
        ]


class TestDoubt:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda s: replace(s, digest="0" * 64), "it is of a model of other content"),
            (lambda s: replace(s, settings=Settings(entries=9)), "its settings are"),
            (
                lambda s: replace(s, sampled={n: t * torch.nan for n, t in s.sampled.items()}),
                "holds NaN or infinity",
            ),
            (lambda s: replace(s, shapes={"a": (2,)}), "its tensors are not those of the model"),
            (lambda s: replace(s, shapes={"a": ("b",)}), "its shapes are no lists of sizes"),
        ],
    )
    def test_it_is_ignored_for_a_reason_that_is_told(
        self,
        change: Callable[[Signature], Signature],
        reason: str,
        family: Any,
        wanted: Request,
        repo: str,
        tmp_path: Path,
    ) -> None:
        put(change(family.expert), wanted, repo, tmp_path)
        notes: list[str] = []
        made = find_or_sign(replace(wanted, probe_sets=()), note=notes.append)
        assert made.origins == {"weights": "computed"}
        (note,) = notes
        assert note.startswith(f"the signature in {repo}@")
        assert " is ignored: " in note
        assert reason in note

    def test_any_other_file_is_ignored(self, wanted: Request, repo: str) -> None:
        upload(b"no safetensors", wanted, repo)
        notes: list[str] = []
        find_or_sign(replace(wanted, probe_sets=()), note=notes.append)
        assert "it cannot be read" in notes[0] or "cannot be believed" in notes[0]

    def test_a_header_that_says_nonsense_is_ignored(
        self, wanted: Request, repo: str, tmp_path: Path
    ) -> None:
        from simmerge_hub.signatures.signing import store

        store.write(tmp_path / "odd", {"name": 1, "settings": [], "shapes": 3}, {})
        upload((tmp_path / "odd").read_bytes(), wanted, repo)
        notes: list[str] = []
        find_or_sign(replace(wanted, probe_sets=()), note=notes.append)
        assert notes[0].endswith(".safetensors is no signature: its name is of type int")

    def test_a_download_that_fails_is_no_obstacle(
        self, family: Any, wanted: Request, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: Attachment) -> Path:
            raise OSError("Consistency check failed: file should be of size 9 but has size 3")

        publish(family.expert, wanted)
        monkeypatch.setattr(Attachment, "fetch", fail)
        notes: list[str] = []
        made = find_or_sign(replace(wanted, probe_sets=()), note=notes.append)
        assert made.origins == {"weights": "computed"}
        assert "is ignored: Consistency check failed" in notes[0]

    @pytest.mark.parametrize("step", ["load", "doubt"])
    def test_a_bug_of_ours_is_not_blamed_on_the_file(
        self, step: str, family: Any, wanted: Request, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise TypeError("a bug")

        publish(family.expert, wanted)
        monkeypatch.setattr(shared, step, fail)
        with pytest.raises(TypeError, match="a bug"):
            find_or_sign(wanted)

    def test_one_too_large_is_not_downloaded(
        self, family: Any, wanted: Request, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(family.expert, wanted)
        monkeypatch.setattr(shared, "LARGEST_SIGNATURE", 1000)
        monkeypatch.setattr(shared, "load", None)
        notes: list[str] = []
        find_or_sign(replace(wanted, probe_sets=()), note=notes.append)
        assert "no signature has more than" in notes[0]


class TestOthers:
    @pytest.mark.parametrize("kind", ["dataset", "model"])
    def test_those_that_are_named_are_used(
        self, kind: str, family: Any, wanted: Request, org: str, tmp_path: Path,
        nothing_computed: None,
    ) -> None:  # fmt: skip
        put(family.expert, wanted, f"{org}/theirs", tmp_path, kind)
        made = find_or_sign(wanted, third_parties=[f"{org}/theirs"])
        assert made.origins == {"weights": f"{org}/theirs", TASK: f"{org}/theirs"}

    def test_those_that_are_not_named_are_not(
        self, family: Any, wanted: Request, org: str, tmp_path: Path
    ) -> None:
        put(family.expert, wanted, f"{org}/theirs", tmp_path, "dataset")
        assert find_or_sign(replace(wanted, probe_sets=())).origins == {"weights": "computed"}

    def test_false_rows_are_found_out_and_the_next_is_asked(
        self, family: Any, wanted: Request, org: str, tmp_path: Path, nothing_computed: None
    ) -> None:
        false = {n: t * 1.001 for n, t in family.expert.sampled.items()}
        put(replace(family.expert, sampled=false), wanted, f"{org}/bad", tmp_path, "dataset")
        put(family.expert, wanted, f"{org}/good", tmp_path, "dataset")
        notes: list[str] = []
        made = find_or_sign(wanted, third_parties=[f"{org}/bad", f"{org}/good"], note=notes.append)
        assert set(made.origins.values()) == {f"{org}/good"}
        (note,) = notes
        assert note.startswith(f"the signature in {org}/bad@")
        assert note.endswith("are not those of the model")

    def test_beside_known_weights_every_row_is_compared(
        self, family: Any, wanted: Request, org: str, tmp_path: Path
    ) -> None:
        sampled = dict(family.expert.sampled)
        sampled["model.norm.weight"] = sampled["model.norm.weight"] + 1e-6
        put(replace(family.expert, sampled=sampled), wanted, f"{org}/bad", tmp_path, "dataset")
        sign(wanted.checkpoint)
        made = find_or_sign(wanted, third_parties=[f"{org}/bad"])
        assert made.origins == {"weights": "cache", TASK: "computed"}

    def test_a_check_that_cannot_be_made_is_no_pass(
        self, family: Any, wanted: Request, org: str, tmp_path: Path, monkeypatch: Any
    ) -> None:
        def refuse(*_: object) -> None:
            raise HubError("no ranges here")

        put(family.expert, wanted, f"{org}/theirs", tmp_path, "dataset")
        monkeypatch.setattr(shared, "spot_check", refuse)
        notes: list[str] = []
        request = replace(wanted, probe_sets=())
        made = find_or_sign(request, third_parties=[f"{org}/theirs"], note=notes.append)
        assert made.origins == {"weights": "computed"}
        assert notes[0].endswith("is ignored: it cannot be checked: no ranges here")

    def test_one_that_does_not_exist_is_the_users_mistake(self, wanted: Request, org: str) -> None:
        with pytest.raises(RepoNotFound, match=f"{org}/none"):
            find_or_sign(wanted, third_parties=[f"{org}/none"])


class TestPublishing:
    def test_the_same_again_is_no_commit(self, family: Any, wanted: Request, repo: str) -> None:
        assert publish(family.expert, wanted) is not None
        before = len(HfApi().list_repo_commits(repo))
        assert publish(family.expert, wanted) is None
        assert publish(replace(family.expert, sketches={}), wanted) is None
        assert len(HfApi().list_repo_commits(repo)) == before

    def test_other_tasks_stay(self, family: Any, wanted: Request) -> None:
        other = replace(family.expert.sketches[TASK], probes="else")
        publish(replace(family.expert, sketches={"other": other}), wanted)
        publish(family.expert, wanted)
        published = shared._find_published(
            family.expert, wanted, wanted.checkpoint.location.repo, "model"
        )
        assert published is not None
        assert {t: s.probes for t, s in published.sketches.items()} == {
            "other": "else", TASK: family.probes.digest,
        }  # fmt: skip

    def test_where_one_may_not_write_it_is_proposed(
        self, family: Any, wanted: Request, repo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        visitor = HfApi(token="hf_visitor")
        monkeypatch.setattr(attachments, "api", lambda: visitor)
        done = publish(family.expert, wanted)
        assert done is not None
        assert done.url.endswith(f"/{repo}/discussions/1")
        assert not [n for n in HfApi().list_repo_files(repo) if n.startswith("simmerge/")]

    def test_into_a_data_set_as_open_as_the_model(
        self, family: Any, wanted: Request, org: str
    ) -> None:
        publish(family.expert, wanted, to=f"{org}/signatures")
        assert HfApi().dataset_info(f"{org}/signatures").private is False
        made = find_or_sign(wanted, third_parties=[f"{org}/signatures"])
        assert set(made.origins.values()) == {f"{org}/signatures"}

    @pytest.mark.parametrize(
        ("how", "who"),
        [({"visibility": "private"}, "private"), ({"gated": "manual"}, "gated")],
        ids=["private", "gated"],
    )
    def test_of_a_closed_model_into_closed_repositories_only(
        self, how: dict[str, Any], who: str, family: Any, wanted: Request, repo: str, org: str
    ) -> None:
        api = HfApi()
        api.update_repo_settings(repo, **how)
        api.create_repo(f"{org}/open", repo_type="dataset")
        with pytest.raises(PushFailed) as caught:
            publish(family.expert, wanted, to=f"{org}/open")
        assert str(caught.value) == (
            f"{repo} is {who}, and {org}/open is not private; nothing was pushed"
        )
        assert api.dataset_info(f"{org}/open").sha == api.list_repo_commits(
            f"{org}/open", repo_type="dataset"
        )[-1].commit_id  # fmt: skip
        publish(family.expert, wanted, to=f"{org}/new")
        assert api.dataset_info(f"{org}/new").private is True
        assert publish(family.expert, wanted) is not None  # its own repository is as closed

    def test_an_adapter_is_no_more_open_than_its_base(
        self, family: Any, repo: str, org: str, tmp_path: Path, assets: Path
    ) -> None:
        at = "base_model.model.model.layers.0.self_attn.q_proj"
        tensors = {
            f"{at}.lora_A.weight": torch.ones(2, 32), f"{at}.lora_B.weight": torch.ones(32, 2),
        }  # fmt: skip
        nano.push(nano.lora(tmp_path / "lora", tensors, base=repo), f"{org}/lora")
        base = resolve(repo)
        request = Request(checkpoint=resolve(f"{org}/lora"), base=base)
        made = find_or_sign(request).signature
        done = publish(made, request)
        assert done is not None
        name = f"simmerge/{request.identity.replace('+', '-')}.safetensors"
        assert name in HfApi().list_repo_files(f"{org}/lora")
        HfApi().update_repo_settings(repo, gated="manual")
        with pytest.raises(PushFailed, match=f"{repo} is gated, and {org}/lora is not private"):
            publish(replace(made, sketches={"a": family.expert.sketches[TASK]}), request)

    def test_a_folder_has_no_repository(self, family: Any, assets: Path) -> None:
        request = Request(checkpoint=family.checkpoints["expert"])
        with pytest.raises(SignatureError) as caught:
            publish(family.expert, request)
        assert str(caught.value) == (
            "expert is a folder here, and has no repository to publish a signature in"
        )
        assert caught.value.hint == "name a dataset of yours: --to org/signatures"

    def test_of_a_folder_nothing_is_told(self, family: Any, org: str, assets: Path) -> None:
        request = Request(checkpoint=family.checkpoints["expert"], probe_sets=(family.probes,))
        publish(family.expert, request, to=f"{org}/mine")
        assert HfApi().dataset_info(f"{org}/mine").private is True
        attached = attachments.find(f"{org}/mine", shared._path(request), repo_type="dataset")
        assert attached is not None
        data = attached.fetch().read_bytes()
        folder = family.checkpoints["expert"].ref.folder
        for secret in (str(folder), folder.name, folder.parent.name, "hf_localhub", "strings.txt"):
            assert secret.encode() not in data


def test_the_size_is_that_of_every_array(family: Any, tmp_path: Path) -> None:
    save(family.expert, tmp_path / "expert.safetensors")
    stored = (tmp_path / "expert.safetensors").stat().st_size
    assert 0 < stored - size_of(family.expert) < 20_000
