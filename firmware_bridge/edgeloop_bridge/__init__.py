"""The link to a microcontroller on a serial line."""
