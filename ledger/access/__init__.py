"""Who may use the console and the officers' part of the REST interface, and for what."""
