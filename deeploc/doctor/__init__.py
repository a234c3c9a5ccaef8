"""What is installed, which devices there are, and whether caches, plugins and the hub answer."""
