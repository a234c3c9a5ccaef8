"""Sentences of a small grammar, and what is made from them."""
