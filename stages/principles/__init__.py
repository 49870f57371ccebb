"""What to align with: load, check, select, assign and import principle sets."""
