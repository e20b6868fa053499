"""Pictures that somebody names, one-off: bytes → pixels → answers → a table."""
