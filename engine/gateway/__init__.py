"""Submission <-> Answer: the profile (a vendor's dialect), the wire (pure) and HTTP. The protocol itself: protocol.md."""
