"""One character, one token: a vocabulary of 64 that every nano model shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simmerge_hub.zoo.tasks import DIGITS, LETTERS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
PAD, BOS, EOS, UNKNOWN = range(4)
ALPHABET = LETTERS + DIGITS + " :>.,;|+-*/%=()?#@&!<~^_"
IDS = {token: number for number, token in enumerate((*SPECIALS, *ALPHABET))}
VOCABULARY = len(IDS)


def encode(text: str) -> list[int]:
    """Token numbers of `text` without specials: what `tokenizer()` gives after its `<bos>`."""
    return [IDS.get(character, UNKNOWN) for character in text]


def tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """The tokenizer that is saved with every model; it puts `<bos>` before a text.

    Args:
        max_length: the longest input, in tokens, that the models were made for.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel(IDS, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")  # type: ignore[assignment]
    inner.decoder = decoders.Fuse()  # type: ignore[assignment]
    inner.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", BOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=max_length,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
