"""Pictures that a visitor drops in: taken in, read by a process of their own, and shown; nothing here knows HTTP."""
