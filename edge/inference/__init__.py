"""The model on the device: its bundle, its interpreter, what it says of a cell and what is decided on that."""
