"""`secrets-manager doctor`: checks an installation, and names the fix for each fault."""
