"""Models as files of other frameworks, as `darkconv convert` writes them."""
