"""The demonstration behind `make demo`: real processes, real data, one story from request to certificate."""
