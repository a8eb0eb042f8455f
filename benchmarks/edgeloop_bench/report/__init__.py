"""The page of `edgeloop bench report`."""
