"""Where the daemon's frames come from: one protocol (`base`), one adapter a file."""
