"""What people write by hand. Kept as they would: no journal, no pace, no word about what was lost."""
