"""An order becomes a plan: read in a process of its own, checked, screened, previewed, signed off."""
