"""Where derived files are cached: a folder beside huggingface_hub's own cache."""

from pathlib import Path

from huggingface_hub import cached_assets_path


def assets_folder(kind: str, name: str) -> Path:
    """The folder for cached files of one kind, made if it is not there (under HF_ASSETS_CACHE)."""
    return cached_assets_path("simmerge-hub", namespace=kind, subfolder=name)
