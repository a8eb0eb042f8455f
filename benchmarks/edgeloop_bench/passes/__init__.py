"""What a run does with an artifact: each pass measures one thing."""
