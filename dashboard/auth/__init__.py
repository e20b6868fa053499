"""Who may: people with roles, their sign-ins, and what keeps others from acting in their name."""
