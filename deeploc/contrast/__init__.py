"""What a contrast file may say."""
