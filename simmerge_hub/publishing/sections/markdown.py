"""Markdown of cards: tables, and links to models."""

from collections.abc import Sequence

from simmerge_hub.literal import literal
from simmerge_hub.publishing.sections.usage import REPOSITORY
from simmerge_hub.recipe import Source


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rule = ["---"] * len(header)
    lines = [map(cell, header), rule, *(map(cell, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Markdown that must not end its cell or table."""
    return " ".join(text.split()).replace("|", "\\|")


def link(source: Source) -> str:
    """A model's name, and its page where it has one."""
    if REPOSITORY.fullmatch(source.repo):
        return f"[{source.repo}](https://huggingface.co/{source.repo})"
    return literal(source.repo or source.name)
