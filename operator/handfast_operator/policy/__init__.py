"""Which policy holds for which pod: precedence, inheritance, conflicts. Pure."""
