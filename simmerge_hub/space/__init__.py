"""The page: what the library says and does, in a browser, here or as a Space.

Computes nothing itself. gradio, its one dependency more, is imported where the page is built.
"""
