"""The walk through what Handfast does, on a lab of its own."""
