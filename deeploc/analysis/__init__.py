"""Procedures: localize, evaluate, profile, audit."""
