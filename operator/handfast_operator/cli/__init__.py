"""`handfast`, for people at a terminal: one module a verb, imported when it is asked for."""
