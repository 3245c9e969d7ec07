"""The page ``diffharmon-app``: harmonizing in a browser, on this machine."""
