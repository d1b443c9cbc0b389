"""Who is on the other side: SPIFFE IDs, leaf checks, TLS contexts and their reload."""
