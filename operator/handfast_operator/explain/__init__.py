"""Why a connection is let through or refused, and what holds for a pod: facts of the API server in, words and data out.

Pure. The one rule: no rule of ours is written down here a second time; what decides is called.
"""
