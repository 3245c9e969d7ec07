"""Work on several images side by side, so that calls of one network are made together."""
