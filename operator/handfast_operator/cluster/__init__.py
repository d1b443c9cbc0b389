"""The API server as the operator sees it: a client, reflectors, and indexes over what they know."""
