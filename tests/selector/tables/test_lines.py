"""Tables are read as they are, plain or compressed; what is no table is refused."""

import gzip
from pathlib import Path

import pytest

from simmerge_hub.selector.tables import lines
from simmerge_hub.selector.tables.lines import read_text, write_text

TEXT = '{"a": 1}\n{"b": "ü"}\n'


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / "new" / name, TEXT)
    assert read_text(tmp_path / "new" / name) == TEXT
    assert [p.name for p in (tmp_path / "new").iterdir()] == [name]


def test_the_same_text_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_text(tmp_path / name, TEXT)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).decode() == TEXT


def test_a_table_cut_short_or_plain_under_a_wrong_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.gz"
    write_text(path, TEXT * 1000)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="not compressed whole"):
        read_text(path)
    path.write_text(TEXT)
    with pytest.raises(OSError, match="gzip"):
        read_text(path)


def test_a_few_bytes_do_not_unfold_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LARGEST_TABLE", 1000)
    write_text(tmp_path / "t.gz", "x" * 1001)
    with pytest.raises(ValueError, match="longer"):
        read_text(tmp_path / "t.gz")
    write_text(tmp_path / "t.gz", "x" * 1000)
    assert len(read_text(tmp_path / "t.gz")) == 1000
