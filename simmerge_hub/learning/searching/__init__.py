"""The best merge of some models within so many real evaluations."""
