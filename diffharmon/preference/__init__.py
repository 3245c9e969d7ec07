"""What people or a model preferred: answers to pairwise questions, and the scores that follow from them."""
