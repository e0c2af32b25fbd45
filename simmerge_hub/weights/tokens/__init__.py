"""Vocabularies: which row of which model stands for which token."""
