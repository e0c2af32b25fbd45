"""Texts from files and from datasets on the Hub."""

import importlib.util
import json
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi

from simmerge_hub.errors import (
    EndpointDown,
    MissingExtra,
    OfflineWithoutCache,
    ProbeError,
    RepoNotFound,
    RevisionNotFound,
)
from simmerge_hub.hub import texts as room
from simmerge_hub.hub.files import ranges
from simmerge_hub.hub.texts import texts


def lines(column, *values):
    return "".join(json.dumps({column: v}) + "\n" for v in values).encode()


@pytest.fixture
def dataset(org):
    """A function that makes a dataset of these files, and gives its name."""
    api = HfApi()

    def make(files, name="prompts"):
        repo = api.create_repo(f"{org}/{name}", repo_type="dataset", exist_ok=True).repo_id
        for path, data in files.items():
            api.upload_file(
                path_or_fileobj=data, path_in_repo=path, repo_id=repo, repo_type="dataset"
            )
        return repo

    return make


class TestFile:
    def test_json_lines(self, tmp_path):
        path = tmp_path / "p.jsonl"
        path.write_bytes(lines("question", "one", "two", "three") + b"\n")
        read = texts(str(path), limit=2)
        assert (read.source, read.prompts) == ("p.jsonl", ("one", "two"))

    def test_a_text_file_has_one_prompt_a_line(self, tmp_path):
        path = tmp_path / "p.txt"
        path.write_text("uno\r\n\n  \ndos, tres\n", encoding="utf-8")
        assert texts(str(path), limit=9).prompts == ("uno", "dos, tres")

    def test_a_file_without_lines_is_not_read_to_its_end(self, tmp_path, monkeypatch):
        monkeypatch.setattr(room, "LARGEST_LINE", 1000)
        monkeypatch.setattr(ranges, "LARGEST_GAP", 100)
        path = tmp_path / "p.txt"
        path.write_text("one\n" + "x" * 10_000)
        assert texts(str(path), limit=1).prompts == ("one",)
        with pytest.raises(ProbeError, match=r"a line of p\.txt is longer than 1\.0 kB"):
            texts(str(path), limit=2)

    def test_the_first_known_column_is_used(self, tmp_path):
        path = tmp_path / "p.jsonl"
        path.write_text('{"input": "no", "text": "no", "prompt": "yes"}')
        assert texts(str(path), limit=9).prompts == ("yes",)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('{"body": "x"}', "has no column prompt or text or .*; it has: body"),
            ("not json", "a line is no JSON object: 'not json'"),
            ("[1]", "a line is no JSON object"),
            ('{"prompt": 3}', "row 1 has no text in 'prompt'"),
            ('{"prompt": "a"}\n{"text": "b"}', "row 2 has no text in 'prompt'"),
            ("", "holds no texts"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, content, message, tmp_path):
        path = tmp_path / "p.jsonl"
        path.write_text(content)
        with pytest.raises(ProbeError, match=message) as caught:
            texts(str(path), limit=9)
        assert caught.value.hint

    @pytest.mark.parametrize("name", ["prompts.csv", "prompts.json"])
    def test_a_file_of_another_kind_is_no_dataset_that_is_not_there(self, name, tmp_path):
        (tmp_path / name).write_text("x")
        with pytest.raises(ProbeError, match="a file, and prompts are read from") as caught:
            texts(str(tmp_path / name), limit=5)
        assert "a .txt has one on each line" in caught.value.hint

    @pytest.mark.parametrize("name", ["./no.jsonl", "/no/such/file.txt", "merged/prompts.jsonl"])
    def test_a_file_that_is_not_there_is_no_dataset(self, name):
        with pytest.raises(ProbeError, match=f"there is no file of prompts {name}") as caught:
            texts(name, limit=1)
        assert "copy a merge's recipe (simmerge.yaml) to where its prompts lie" in caught.value.hint

    @pytest.mark.parametrize("name", ["./no", "/no/such/file", "a b c"])
    def test_neither_file_nor_dataset(self, name):
        with pytest.raises(ProbeError, match=r"neither a \.jsonl or \.txt file here nor a dataset"):
            texts(name, limit=1)


class TestDataset:
    def test_it_is_pinned(self, dataset):
        repo = dataset({"train.jsonl": lines("prompt", "old")})
        before = texts(repo, limit=9)
        commit = HfApi().dataset_info(repo).sha
        assert before.source == f"{repo}@{commit}:train:prompt"
        dataset({"train.jsonl": lines("prompt", "new")})
        assert texts(repo, limit=9).prompts == ("new",)
        assert texts(f"{repo}@{commit}", limit=9) == before

    def test_the_probe_split_comes_first(self, dataset):
        repo = dataset(
            {"data/train.jsonl": lines("text", "t"), "data/probe.jsonl": lines("text", "p")}
        )
        assert texts(repo, limit=9).prompts == ("p",)
        assert texts(f"{repo}:train", limit=9).prompts == ("t",)

    def test_a_column(self, dataset):
        repo = dataset({"probe.jsonl": b'{"prompt": "a", "other": "b"}\n'})
        read = texts(f"{repo}:probe:other", limit=9)
        assert read.prompts == ("b",)
        assert read.source.endswith(":probe:other")
        assert texts(f"{repo}::other", limit=9).prompts == ("b",)

    @pytest.mark.parametrize(
        ("file", "split"),
        [
            ("data/dev.jsonl", "validation"),
            ("test/part.jsonl", "test"),
            ("my-probe-set.jsonl", "probe"),
            ("data/hard-00000-of-00001.jsonl", "hard"),
            ("anything.jsonl", "train"),
        ],
    )
    def test_names_tell_the_split(self, file, split, dataset):
        repo = dataset({file: lines("prompt", "x"), "README.md": b"---\nlicense: mit\n---\n"})
        assert texts(f"{repo}:{split}", limit=9).prompts == ("x",)

    def test_the_card_tells_the_split(self, dataset):
        card = (
            b"---\nconfigs:\n- config_name: default\n  data_files:\n"
            b"  - {split: probe, path: 'sub/*.jsonl'}\n---\n"
        )
        repo = dataset(
            {
                "README.md": card,
                "sub/a.jsonl": lines("prompt", "a"),
                "b.jsonl": lines("prompt", "b"),
            }
        )
        assert texts(repo, limit=9).prompts == ("a",)

    def test_the_card_may_list_several_files(self, dataset):
        card = (
            b"---\nconfigs:\n- data_files:\n"
            b"  - {split: probe, path: [sub/b.jsonl, 'a*.jsonl']}\n"
            b"  - {split: test, path: train.jsonl}\n---\n"
        )
        names = ("sub/b", "a", "train")
        files = {f"{name}.jsonl": lines("prompt", name) for name in names}
        repo = dataset({**files, "README.md": card})
        assert texts(f"{repo}:probe", limit=9).prompts == ("sub/b", "a")
        assert texts(f"{repo}:test", limit=9).prompts == ("train",)

    @pytest.mark.parametrize("configs", [b"[default]", b"[3]", b"{}", b"[{data_files: x}]"])
    def test_a_card_that_tells_nothing(self, configs, dataset):
        card = b"---\nconfigs: " + configs + b"\n---\n"
        repo = dataset({"a.jsonl": lines("prompt", "x"), "README.md": card})
        assert texts(repo, limit=9).prompts == ("x",)

    def test_a_missing_split_lists_those_there_are(self, dataset):
        repo = dataset({"train.jsonl": lines("prompt", "x"), "test.jsonl": lines("prompt", "x")})
        with pytest.raises(ProbeError, match="no split 'probe'; it has: test, train"):
            texts(f"{repo}:probe", limit=9)

    def test_a_missing_column_lists_those_there_are(self, dataset):
        repo = dataset({"probe.jsonl": b'{"a": "x", "b": "y"}\n'})
        with pytest.raises(ProbeError, match="no column 'prompt'; it has: a, b"):
            texts(f"{repo}:probe:prompt", limit=9)

    def test_no_such_dataset(self, org):
        with pytest.raises(RepoNotFound):
            texts(f"{org}/nothing", limit=1)

    def test_no_such_revision(self, dataset):
        repo = dataset({"probe.jsonl": lines("prompt", "x")})
        with pytest.raises(RevisionNotFound):
            texts(f"{repo}@nowhere", limit=1)

    def test_offline_from_the_cache(self, dataset, monkeypatch):
        repo = dataset({"probe.jsonl": lines("prompt", "x")})
        online = texts(repo, limit=9)
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(room, "offline", lambda: True)
        commit = online.source.partition("@")[2].partition(":")[0]
        assert texts(f"{repo}@{commit}", limit=9) == online
        assert texts(repo, limit=9) == online  # what main was when it was last asked for

    def test_offline_a_file_that_was_not_fetched(self, dataset, monkeypatch):
        """A smaller number of prompts than were asked for would be given without a word."""
        repo = dataset(
            {"train-1.jsonl": lines("prompt", "x", "y"), "train-2.jsonl": lines("prompt", "z")}
        )
        assert texts(repo, limit=2).prompts == ("x", "y")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert texts(repo, limit=2).prompts == ("x", "y")
        with pytest.raises(OfflineWithoutCache) as caught:
            texts(repo, limit=3)
        assert str(caught.value) == (
            f"offline mode is on, and the cache does not hold train-2.jsonl of {repo}"
        )

    def test_a_revision_writes_nowhere_else(self, dataset, monkeypatch):
        repo = dataset({"probe.jsonl": lines("prompt", "x")})
        commit = texts(repo, limit=9).source.partition("@")[2].partition(":")[0]
        info = SimpleNamespace(id=repo, sha=commit, siblings=[])
        monkeypatch.setattr(
            room, "api", lambda: SimpleNamespace(dataset_info=lambda *_, **__: info)
        )
        with pytest.raises(RevisionNotFound):
            texts(f"{repo}@../../evil", limit=1)

    def test_a_large_file_is_read_as_far_as_needed(self, dataset, monkeypatch):
        count = 100_000
        texts_there = [f"täxt {i}" for i in range(count)]
        repo = dataset({"a-train.jsonl": lines("prompt", *texts_there), "z-train.jsonl": b"{"})
        monkeypatch.setattr(room, "WHOLE_FILE", 1000)
        monkeypatch.setattr(ranges, "local_file", None)
        taken = []
        real = room.stream_file

        def counting(location, file, *, whole):
            for data in real(location, file, whole=whole):
                taken.append((file, len(data)))
                yield data

        monkeypatch.setattr(room, "stream_file", counting)
        assert texts(f"{repo}:train:prompt", limit=64).prompts == tuple(texts_there[:64])
        assert {file for file, _ in taken} == {"a-train.jsonl"}
        assert sum(size for _, size in taken) < 200_000 < 20 * count
        assert texts(f"{repo}:train:prompt", limit=count).prompts == tuple(texts_there)

    def test_other_formats_go_through_datasets(self, dataset, tmp_path):
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        pytest.importorskip("datasets")
        pq.write_table(pa.table({"question": ["a", "b"]}), tmp_path / "x.parquet")
        repo = dataset({"data/train-00000-of-00001.parquet": (tmp_path / "x.parquet").read_bytes()})
        read = texts(repo, limit=1)
        assert read.prompts == ("a",)
        assert read.source.endswith(":train:question")

    def test_without_datasets_the_hint_says_so(self, dataset, monkeypatch):
        repo = dataset({"data.parquet": b"PAR1"})
        real = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == "datasets" else real(name)
        )
        with pytest.raises(MissingExtra) as caught:
            texts(repo, limit=1)
        assert caught.value.hint == "pip install datasets"

    def test_a_dead_endpoint(self, monkeypatch):
        import httpx2

        def down(*_args, **_how):
            raise httpx2.ConnectError("refused")

        monkeypatch.setattr(room.api(), "dataset_info", down)
        with pytest.raises(EndpointDown):
            texts("org/prompts", limit=1)
