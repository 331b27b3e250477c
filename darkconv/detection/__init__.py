"""From a picture to boxes: fitting, decoding, non-maximum suppression, drawing."""
