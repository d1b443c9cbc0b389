"""What happens to a connection: where it wants to go, how it gets there, and how it ends."""
