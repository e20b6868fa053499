"""Many devices on one broker: what they say is collected into a PostgreSQL database."""
