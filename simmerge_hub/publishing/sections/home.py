"""Where the project lives, for cards."""

HOME = ""
"""The address of the project's page; empty until there is one."""


def program() -> str:
    """The program's name in Markdown, a link where the project has a home."""
    return f"[simmerge-hub]({HOME})" if HOME else "simmerge-hub"
