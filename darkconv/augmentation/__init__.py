"""Training pictures: the order in which they are drawn, a cache, and their random changes."""
