"""The files of a repository: bytes, headers, formats, hashes."""
