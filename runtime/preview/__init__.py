"""The preview: source, alpha and composite of a running session on a local page."""
