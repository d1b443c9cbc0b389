"""Pages of the docs that are made from the source, and the links between all of them."""
