"""What a run will cost, found without its weights: the network calls of an image, their FLOPs, memory and hours."""
