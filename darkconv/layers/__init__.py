"""All layer types of Darknet, one class each: options, shape, arrays, cost and channel ties.

Importing this package fills `darkconv.core.spec.LAYER_TYPES`. Rules and defaults are documented in
golden/DIALECTS.md §2, §5 and §6.
"""

from darkconv.layers import conv, dense, head, inert, merge, norm, pool, recurrent, resize

__all__ = ["conv", "dense", "head", "inert", "merge", "norm", "pool", "recurrent", "resize"]
