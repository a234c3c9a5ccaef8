"""Any other torch module."""
