from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from simmerge_hub.zoo.tokenizer import ALPHABET, BOS, UNKNOWN, VOCABULARY, encode, tokenizer

SHARED = tokenizer(64)


def test_vocabulary_is_64() -> None:
    assert VOCABULARY == len(SHARED) == 64


@given(st.text(alphabet=ALPHABET, max_size=30))
def test_round_trip(text: str) -> None:
    ids = SHARED(text)["input_ids"]
    assert ids == [BOS, *encode(text)]
    assert SHARED.decode(ids, skip_special_tokens=True) == text


def test_unknown_characters() -> None:
    assert SHARED("aÄ")["input_ids"][2] == UNKNOWN == encode("Ä")[0]


def test_saved_tokenizer_loads(tmp_path: Path) -> None:
    SHARED.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "code f(abcd)>"
    assert loaded(text)["input_ids"] == SHARED(text)["input_ids"]
    assert (loaded.pad_token, loaded.bos_token, loaded.eos_token) == ("<pad>", "<bos>", "<eos>")
    assert loaded.padding_side == "left"
