"""Rendered images."""
