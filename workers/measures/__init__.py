"""Pure functions of pictures, uint8 (batch, height, width, 3), in sRGB."""
