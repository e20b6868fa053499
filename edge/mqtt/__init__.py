"""The broker: a session that loses nothing, and what else is said to a broker."""
