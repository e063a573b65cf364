"""What commands read once: definitions from manifests, their documents from the backend, objects of the cluster."""
