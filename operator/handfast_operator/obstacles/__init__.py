"""What in the cluster stands in the way of meshed pods, found in its objects. Pure: facts in, findings out."""
