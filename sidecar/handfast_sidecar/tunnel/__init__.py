"""Many application connections as streams of one mutually authenticated TLS connection between two pods."""
