"""Reading and writing of Darknet's own files: cfg, weights, names, data, tree and map."""
