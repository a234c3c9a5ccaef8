"""The run folder: its files, its manifest, what is current."""
