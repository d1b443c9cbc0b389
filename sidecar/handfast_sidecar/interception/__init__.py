"""How the pod's traffic reaches the proxy: nftables rules, written once by the init container."""
