"""What people have the device do, over MQTT or the command line, and what becomes of it."""
