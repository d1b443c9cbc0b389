"""What is wrong with an installation, found in what a cluster's objects and its directory say. Pure: facts in, findings
out; who gathers the facts is `handfast_operator.cli.gathering`."""
