"""What a campaign came to, for people and programs: the list with its results, the report, and what is forgotten."""
