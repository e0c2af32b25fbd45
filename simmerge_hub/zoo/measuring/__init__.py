"""Merges of a zoo that are made and evaluated, and the tables they give."""
