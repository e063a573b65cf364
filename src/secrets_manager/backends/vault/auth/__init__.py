"""Auth methods of Vault."""
