"""The embedded API server: a test double that answers what our own parts and kubectl ask, as the real one does."""
