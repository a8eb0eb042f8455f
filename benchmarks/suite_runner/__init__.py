"""What `make bench` runs, how, and how it is told."""
