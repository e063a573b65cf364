"""What commands read once: definitions from manifests, and their documents from the backend."""
