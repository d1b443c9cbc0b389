"""Injection: what a pod that opted in becomes (pure), and the review server that the API server calls."""
