"""How the device is: what is wrong, what it counts of itself, what systemd and Prometheus are told."""
