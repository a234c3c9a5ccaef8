"""Sweeps shipped with deeploc, as data: installed as ``deeploc.sweeps``, named without a path."""
