"""What every torch adapter shares."""
