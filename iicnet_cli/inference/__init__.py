"""Running a network on pictures of any size: device, tiles, memory."""
