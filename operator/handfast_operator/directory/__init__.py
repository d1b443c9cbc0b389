"""What sidecars are told about addresses and policy, and what they tell about themselves."""
