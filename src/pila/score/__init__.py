"""Reports on the physics of any video file."""
