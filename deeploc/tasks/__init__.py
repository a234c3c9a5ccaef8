"""Tasks shipped with deeploc, one per module, found by entry point."""
