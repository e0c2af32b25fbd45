"""Signatures that others have published, and whether they are believed."""
