"""Records → the bytes that others read: payloads, their schemas, topics."""
