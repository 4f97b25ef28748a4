"""Readers of bytes that others made, fed with anything: `make fuzz SECONDS=60`, and for a moment in `make test`."""
