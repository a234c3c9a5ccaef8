"""``python -m deeploc``."""

from deeploc.cli import main

main()
