"""The choice of the dialect, the rules of one program, that a model follows.

The first of these signs that is found decides:

1. a section type that only one program knows (`[deconvolutional]`, `[scale_channels]` ...); those
of yolor (`[implicit_add]` ...) precede those of AlexeyAB's program, which yolor knows too;
2. an option or activation of AlexeyAB's program that affects the result (`scale_x_y`, `groups` of a
route, `mish`, or `silu` for swish ...), since files of the original do not have it;
3. the weights header: AlexeyAB's program and its successors write version 0.2.5, the original
writes 0.2.0, and older ones 0.1.0. Versions of 1000 and more are the original's;
4. an option that only AlexeyAB's program reads, in training (`mosaic`, `iou_loss` ...);
5. otherwise the dialect is `pjreddie`, the original.
"""

import logging

from darkconv.core.dialect import ALEXEYAB, DIALECTS, PJREDDIE, Dialect
from darkconv.core.model import Header
from darkconv.core.net import NetOptions
from darkconv.core.options import keys_only_of
from darkconv.core.section import Config
from darkconv.core.spec import LAYER_TYPES, only_dialect
from darkconv.errors import DarkconvError
from darkconv.layers.activation import ALEXEYAB_ACTIVATIONS, darknet_name

logger = logging.getLogger("darkconv")

AUTO = "auto"
GAUSSIAN = "Gaussian_yolo"


def named_dialect(name: str) -> Dialect:
    """Return the dialect with a given name.

    Args:
        name: name of the dialect.

    Raises:
        DarkconvError: there is no such dialect.
    """
    try:
        return DIALECTS[name]
    except KeyError:
        raise DarkconvError(
            "unknown dialect", expected=", ".join([AUTO, *DIALECTS]), found=name
        ) from None


def choose_dialect(config: Config, header: Header | None) -> Dialect:
    """Choose the dialect from a cfg and the header of its weights; the module lists the rules.

    A warning is logged if cfg and header contradict each other.

    Args:
        config: the text of the cfg, as data.
        header: header of the weights file; None if there are no weights.
    """
    by_cfg, by_header = _of_cfg(config), _of_header(header) if header else None
    if header and by_header and by_cfg and not by_cfg.follows(by_header):
        _tell_of_header(config, header, by_cfg)
    if by_cfg or by_header:
        return by_cfg or by_header or PJREDDIE
    return ALEXEYAB if _has_option(config, training=True) else PJREDDIE


def tell_of_other_reading(config: Config, header: Header, dialect: Dialect) -> None:
    """Warn if a written cfg and weights will be read in another dialect than the model's.

    Args:
        config: the cfg that is written.
        header: header of the weights that are written with it.
        dialect: the dialect of the model.
    """
    own = _of_cfg(config) or _of_header(header)
    if own.name != dialect.name:
        logger.warning(
            "%s: follows the rules of the dialect %s, but its cfg and weights are taken for those "
            "of %s: read them with --dialect %s (dialect=)",
            config.file,
            dialect.name,
            own.name,
            dialect.name,
        )


def _of_cfg(config: Config) -> Dialect | None:
    known = (only_dialect(section.name) for section in config.distinct_sections[1:])
    named = list(dict.fromkeys(only for only in known if only))
    if named:
        return next((only for only in named if only.base in named), named[0])
    is_forks = _has_option(config, training=False) or _has_activation(config)
    return ALEXEYAB if is_forks else None


def _of_header(header: Header) -> Dialect:
    is_new = header.revision >= ALEXEYAB.revision and not header.is_transposed
    return ALEXEYAB if is_new else PJREDDIE


def _tell_of_header(config: Config, header: Header, chosen: Dialect) -> None:
    """Warn that a header is that of another program, by which some forks are recognised."""
    other = (
        f"header {header.major}.{header.minor}.{header.revision}, as {_of_header(header)} writes"
    )
    text = f"the cfg is in the {chosen} dialect, but the weights have a {other}: read as {chosen}"
    if any(section.name == GAUSSIAN for section in config.distinct_sections):
        text += (
            f". The fork of the original that [{GAUSSIAN}] comes from writes such headers, and "
            "letterboxes pictures: --resize letterbox (resize=) does as well"
        )
    logger.warning("%s: %s", config.file, text)


def _has_option(config: Config, *, training: bool) -> bool:
    keys: dict[type, set[str | None]] = {NetOptions: set(config.sections[0].options())}
    for section in config.distinct_sections[1:]:
        if section.name in LAYER_TYPES:
            keys.setdefault(LAYER_TYPES[section.name], set()).update(section.options())
    return any(
        not keys_only_of(spec, ALEXEYAB, training=training).isdisjoint(found)
        for spec, found in keys.items()
    )


def _has_activation(config: Config) -> bool:
    return any(
        darknet_name(section.get("activation") or "") in ALEXEYAB_ACTIVATIONS
        for section in config.distinct_sections
    )
