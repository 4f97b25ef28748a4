"""Signed statements: DSSE envelopes around in-toto statements. Pure: no Django, no I/O, no clock."""
