"""What sidecars reported: who talks to whom, protected or not, and who is refused. Collected from every directory."""
