"""The lab's network: namespaces, addresses, Services and names."""
