"""A run of a campaign, and what goes on beside it: bounds, canary, orders from outside, settlement, queues, telling."""
