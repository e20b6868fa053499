"""A slide that moves under a camera: which frames are read, where each lies, each cell known by its place."""
