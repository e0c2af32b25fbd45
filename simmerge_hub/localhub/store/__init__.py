"""The state of a Hub: repositories, their contents, accounts, discussions."""
