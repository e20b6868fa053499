"""The page that people look at: an MQTT subscriber that serves what it heard to browsers."""
