"""A little kubectl: the verbs that the demo and the behaviour tests use, for machines that have no other."""
