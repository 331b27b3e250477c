"""Cfgs that no network can be built from, and odd ones that work."""

import os

import pytest

from bad.catalogue import Accepted, Refused, check

NET = "[net]\nwidth=16\nheight=16\nchannels=3\n"
CONV = "[convolutional]\nfilters=4\nsize=3\npad=1\n"
HALF = "[convolutional]\nfilters=4\nsize=3\npad=1\nstride=2\n"
INFO = "info net.cfg"
IN_A, IN_P = f"{INFO} --dialect alexeyab", f"{INFO} --dialect pjreddie"
FIRST = "net.cfg:6: layer 0 [convolutional]"
NO_CFG = "expected a Darknet cfg that begins with [net], found"
MUCH = 100_000_000


def whole(text):
    """A rule that writes net.cfg."""
    data = text if isinstance(text, bytes) else text.encode()
    return lambda folder: (folder / "net.cfg").write_bytes(data)


def cfg(text):
    """A rule that writes net.cfg with a good [net]."""
    return whole(NET + text)


def conv(line):
    """A rule that writes net.cfg with one convolution, of which line 6 is given."""
    return cfg(f"[convolutional]\n{line}\n")


def yolo(*lines, filters=16):
    """A rule that writes net.cfg with a head, whose `classes=` is in line 8."""
    head = "\n".join(("[yolo]", *lines))
    return cfg(f"[convolutional]\nfilters={filters}\n{head}\n")


def repeated(block, size=MUCH, start=b""):
    """A rule that writes a net.cfg of so many bytes."""

    def make(folder):
        with (folder / "net.cfg").open("wb") as file:
            file.write(start)
            for _ in range(size // len(block)):
                file.write(block)

    return make


def folder_instead(folder):
    (folder / "net.cfg").unlink()
    (folder / "net.cfg").mkdir()


def circular_link(folder):
    (folder / "net.cfg").unlink()
    (folder / "net.cfg").symlink_to("net.cfg")


def sparse(folder):
    os.truncate(folder / "net.cfg", 100 * MUCH)


def without_room(folder):
    """A layer that is stored nowhere, a thousand times: 4 TB of initial values."""
    layer = "[connected]\noutput=30000\ndontload=1\n"
    (folder / "net.cfg").write_text(NET + CONV + layer * 1000)
    (folder / "net.weights").write_bytes(bytes([0, 0, 0, 0, 2, 0, 0, 0, 5] + [0] * (11 + 4 * 112)))


def huge_receiver(folder):
    """A cfg of 4 TB of initial values."""
    first = (folder / "net.cfg").read_text().partition("[yolo]")[0]
    (folder / "huge.cfg").write_text(first + "[connected]\noutput=30000\n" * 1000)


def too_many(what, count):
    return f"{what} {count} values: expected at most 2147483647, as C counts them"


TEXT = [
    Refused(
        "unknown section",
        "convert net.cfg net.weights -o out.onnx",
        "net.cfg:5: layer 0 [convolutionel]: expected a Darknet layer type, found [convolutionel]\n"
        "  hint: did you mean [convolutional]?",
        cfg("[convolutionel]\nfilters=8\n"),
    ),
    Refused(
        "section in lower case",
        "prune net.cfg net.weights --ratio 0.5 -o s.cfg s.weights",
        "net.cfg:7: layer 1 [gaussian_yolo]: expected a Darknet layer type, found [gaussian_yolo]\n"
        "  hint: did you mean [Gaussian_yolo]?",
        cfg("[convolutional]\nfilters=16\n[gaussian_yolo]\nclasses=3\n"),
    ),
    Refused(
        "text behind a header",
        INFO,
        "net.cfg:5: layer 0 [convolutional]x]: expected a Darknet layer type, "
        "found [convolutional]x]\n  hint: nothing may follow the ] of a section header",
        cfg("[convolutional] x\nfilters=8\n"),
    ),
    Refused(
        "header without its end",
        INFO,
        "net.cfg:5: expected a section header that ends with ], found [convolutional",
        cfg("[convolutional\nfilters=8\n"),
    ),
    Refused(
        "NUL in a header",
        INFO,
        "net.cfg:5: layer 0 [convo\\x00lutional]: expected a Darknet layer type, "
        "found [convo\\x00lutional]\n  hint: did you mean [convolutional]?",
        cfg("[convo\0lutional]\nfilters=8\n"),
    ),
    Refused(
        "two cfgs in one file",
        INFO,
        "net.cfg:9: layer 1 [net]: expected a Darknet layer type, found [net]\n"
        "  hint: [net] comes once, at the start",
        cfg(CONV + NET),
    ),
    Refused(
        "layers of two dialects",
        INFO,
        "net.cfg:8: layer 1 [empty]: exists only in the alexeyab dialect, and the cfg is read in "
        "the pjreddie one",
        cfg("[deconvolutional]\nfilters=2\nsize=2\n[empty]\n"),
    ),
    Refused(
        "no [net]",
        "weights stats net.cfg net.weights",
        "net.cfg:1: expected the first section to be [net], found [convolutional]",
        whole(CONV),
    ),
    Refused(
        "options before [net]",
        INFO,
        f"net.cfg:1: {NO_CFG} 'width=3'",
        whole("width=3\n" + NET + CONV),
    ),
    Refused("no layers", INFO, "net.cfg: the network has no layers", cfg("")),
    Refused("empty file", INFO, f"net.cfg: {NO_CFG} an empty file", whole("")),
    Refused("blank lines", INFO, f"net.cfg: {NO_CFG} an empty file", whole("\n \n\t\n")),
    Refused("comments", INFO, f"net.cfg: {NO_CFG} nothing but comments", whole("# a\n; b\n")),
    Refused(
        "carriage returns alone",
        INFO,
        "net.cfg:1: expected the first section to be [net], found "
        "[net]width=16height=16channels=3[convolutional]filters=4size=...]\n"
        "  hint: its lines end with carriage returns alone: write it with line feeds",
        whole((NET + CONV).replace("\n", "\r")),
    ),
    Refused(
        "UTF-16",
        INFO,
        f"net.cfg:1: {NO_CFG} a text in UTF-16\n  hint: save it as UTF-8 or ASCII",
        whole((NET + CONV).encode("utf-16")),
    ),
    Refused(
        "HTML page",
        "detect net.cfg net.weights pics/0.png",
        f"net.cfg:1: {NO_CFG} an HTML page\n"
        "  hint: the download failed: the server sent a page instead of the file",
        whole("<!DOCTYPE html><html><body>404</body></html>\n"),
    ),
    Refused(
        "JSON list",
        INFO,
        f"net.cfg: {NO_CFG} a JSON text\n"
        "  hint: the download failed: the server sent a page instead of the file",
        whole('["Not Found", 404]\n'),
    ),
    Refused(
        "LFS pointer",
        INFO,
        f"net.cfg:1: {NO_CFG} a Git LFS pointer\n  hint: fetch the file itself: git lfs pull",
        whole("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 8\n"),
    ),
    Refused("another program's text", INFO, f"net.cfg:1: {NO_CFG} 'nc: 80'", whole("nc: 80\n")),
    Refused("binary file", INFO, f"net.cfg:1: {NO_CFG} a binary file", whole(bytes(range(256)))),
    Refused("folder", INFO, "net.cfg: cannot read: Is a directory", folder_instead),
    Refused(
        "unreadable file",
        INFO,
        "net.cfg: cannot read: Too many levels of symbolic links",
        circular_link,
    ),
    Refused("no file", "info no.cfg", "no.cfg: cannot read: No such file or directory"),
]

OPTIONS = [
    Refused("no number", INFO, f"{FIRST} filters: expected a whole number, found many",
            conv("filters=many")),
    Refused("negative filters", INFO, f"{FIRST} filters: expected 1 or more, found -8",
            conv("filters=-8")),
    Refused("size 0", INFO, f"{FIRST} size: expected 1 or more, found 0", conv("size=0")),
    Refused("stride 0", INFO, f"{FIRST} stride: expected 1 or more, found 0", conv("stride=0")),
    Refused("groups 0", INFO, f"{FIRST} groups: expected 1 or more, found 0", conv("groups=0")),
    Refused("negative padding", INFO, f"{FIRST} padding: expected 0 or more, found -1",
            conv("padding=-1")),
    Refused("hexadecimal", INFO, f"{FIRST} filters: expected 1 or more, found 0x10",
            conv("filters=0x10")),
    Refused("beyond 32 bits", INFO,
            f"{FIRST} filters: expected a number that C can hold, found 2147483648",
            conv("filters=2147483648")),
    Refused("beyond 64 bits", INFO,
            f"{FIRST} filters: expected a number that C can hold, found 99999999999999999999",
            conv("filters=99999999999999999999")),
    Refused("float beyond its range", INFO,
            "net.cfg:6: layer 0 [upsample] scale: expected a number that C can hold, found 1e39",
            cfg("[upsample]\nscale=1e39\n")),
    Refused("NaN", INFO, "net.cfg:6: layer 0 [upsample] scale: expected a number, found nan",
            cfg("[upsample]\nscale=nan\n")),
    Refused("infinity", INFO, "net.cfg:6: layer 0 [upsample] scale: expected a number, found -inf",
            cfg("[upsample]\nscale=-inf\n")),
    Refused("a word for a number", INFO,
            "net.cfg:6: layer 0 [upsample] scale: expected a number, found half",
            cfg("[upsample]\nscale=half\n")),
    Refused("width 0", INFO,
            "net.cfg:1: [net]: the input has no size: expected height, width and channels, or "
            "inputs, found height=16, width=0, channels=3",
            whole("[net]\nwidth=0\nheight=16\nchannels=3\n" + CONV)),
    Refused("negative height", INFO, "net.cfg:3: [net] height: expected 0 or more, found -16",
            whole("[net]\nwidth=16\nheight=-16\nchannels=3\n" + CONV)),
    Refused("unknown antialiasing", INFO,
            "net.cfg:7: layer 0 [convolutional] antialiasing: expected 0 to 2, found 3",
            cfg("[convolutional]\nfilters=4\nantialiasing=3\n")),
    Refused("pooling with stride 0", INFO,
            "net.cfg:6: layer 0 [maxpool] stride: expected 1 or more, found 0",
            cfg("[maxpool]\nstride=0\n")),
    Refused("upsampling with stride 0", INFO,
            "net.cfg:6: layer 0 [upsample] stride: expected not 0, found 0",
            cfg("[upsample]\nstride=0\n")),
    Refused("temperature 0", INFO,
            "net.cfg:6: layer 0 [softmax] temperature: expected not 0, found 0",
            cfg("[softmax]\ntemperature=0\n")),
    Refused("gru of no width", INFO, "net.cfg:6: layer 0 [gru] output: expected 1 or more, found 0",
            cfg("[gru]\noutput=0\n")),
    Refused("unknown weights_type", INFO,
            "net.cfg:15: layer 2 [shortcut] weights_type: expected none, per_feature or "
            "per_channel, found each",
            cfg(CONV + CONV + "[shortcut]\nfrom=-2\nweights_type=each\n")),
    Refused("weights without normalization", INFO,
            "net.cfg:13: layer 2 [shortcut] weights_normalization: expected relu or softmax with "
            "weights_type=per_channel, found none",
            cfg(CONV + CONV + "[shortcut]\nfrom=-2\nweights_type=per_channel\n")),
]  # fmt: skip

GRAPH = [
    Refused("route forward", INFO,
            "net.cfg:10: layer 1 [route] layers: expected an earlier layer, 0 to 0 or -1 to -1, "
            "found 5",
            cfg(CONV + "[route]\nlayers=5\n")),
    Refused("route to itself", "reclass net.cfg net.weights --keep cat -o s.cfg s.weights",
            "net.cfg:10: layer 1 [route] layers: expected an earlier layer, 0 to 0 or -1 to -1, "
            "found 1",
            cfg(CONV + "[route]\nlayers=1\n")),
    Refused("route out of range", INFO,
            "net.cfg:10: layer 1 [route] layers: expected an earlier layer, 0 to 0 or -1 to -1, "
            "found -9",
            cfg(CONV + "[route]\nlayers=-9\n")),
    Refused("route first", INFO, "net.cfg:5: layer 0 [route]: cannot be the first layer",
            cfg("[route]\nlayers=-1\n")),
    Refused("route from nowhere", INFO, "net.cfg:9: layer 1 [route] layers: is missing",
            cfg(CONV + "[route]\n")),
    Refused("route with an empty item", INFO,
            "net.cfg:10: layer 1 [route] layers: expected a whole number, found nothing",
            cfg(CONV + "[route]\nlayers=-1,\n")),
    Refused("route's group_id", INFO,
            "net.cfg:12: layer 1 [route] group_id: expected a number below groups=2, found 2",
            cfg(CONV + "[route]\nlayers=-1\ngroups=2\ngroup_id=2\n")),
    Refused("route of two sizes", "verify net.cfg net.weights",
            "net.cfg:14: layer 2 [route]: joins maps of 8x8 and 16x16 (layers 1 and 0) as a plain "
            "vector, but layer 3 [convolutional] needs a map of rows and columns",
            cfg(CONV + HALF + "[route]\nlayers=-1,-2\n" + CONV)),
    Refused("shortcut forward", INFO,
            "net.cfg:10: layer 1 [shortcut] from: expected an earlier layer, 0 to 0 or -1 to -1, "
            "found 2",
            cfg(CONV + "[shortcut]\nfrom=2\n")),
    Refused("shortcut first", INFO, "net.cfg:5: layer 0 [shortcut]: cannot be the first layer",
            cfg("[shortcut]\nfrom=-1\n")),
    Refused("shortcut of two sizes", IN_A,
            "net.cfg:19: layer 3 [shortcut] from: adds maps of 8x8 and 16x16 (layers 2, 1 and 0), "
            "which have to be of one size",
            cfg(CONV + HALF + CONV + "[shortcut]\nfrom=-2,-3\n")),
    Refused("shortcut of another shape", INFO,
            "net.cfg:14: layer 2 [shortcut] from: adds maps of 8 and 16 rows (layers 1 and 0), "
            "which have to be one a multiple of the other",
            cfg(CONV + "[convolutional]\nsize=1\nstride_x=1\nstride_y=2\n"
                "[shortcut]\nfrom=-2\n")),
    Refused("scale_channels on a map", INFO,
            "net.cfg:14: layer 2 [scale_channels] from: expected 4x1x1 from the previous layer, "
            "found 4x16x16",
            cfg(CONV + CONV + "[scale_channels]\nfrom=-2\n")),
    Refused("sam of another size", INFO,
            "net.cfg:15: layer 2 [sam] from: multiplies maps of 8x8 and 16x16 (layers 1 and 0), "
            "which have to be of one size",
            cfg(CONV + HALF + "[sam]\nfrom=-2\n")),
    Refused("average of a vector", INFO,
            "net.cfg:6: layer 1 [avgpool]: expected a map of rows and columns as input, found the "
            "plain vector of layer 0 [softmax]",
            cfg("[softmax]\n[avgpool]\n")),
    Refused("groups and filters", INFO,
            "net.cfg:7: layer 0 [convolutional] groups: expected a divisor of 8 filters, found 3",
            cfg("[convolutional]\nfilters=8\ngroups=3\n")),
    Refused("more groups than channels", INFO,
            "net.cfg:7: layer 0 [convolutional] groups: expected at most 3, the input channels, "
            "found 4",
            cfg("[convolutional]\nfilters=8\ngroups=4\n")),
    Refused("borrowed arrays of other shapes", INFO,
            "net.cfg:13: layer 1 [convolutional] share_index: expected a layer with arrays of the "
            "same shapes, found layer 0 [convolutional]",
            cfg(CONV + "[convolutional]\nfilters=5\nsize=3\npad=1\nshare_index=0\n")),
    Refused("too many windows", INFO,
            "net.cfg:8: layer 1 [convolutional]: nothing is left of the map: found 1x0x0 from an "
            "input of 1x8x8\n  hint: the network input is too small for this cfg",
            cfg("[convolutional]\nsize=9\nfilters=1\n" * 2)),
    Refused("crop of more than there is", INFO,
            "net.cfg:6: layer 0 [crop] crop_height: expected at most the input's 16x16, "
            "found 32x32",
            cfg("[crop]\ncrop_height=32\ncrop_width=32\n")),
    Refused("reorg of odd channels", INFO,
            "net.cfg:10: layer 1 [reorg] stride: expected channels that 9 divides, found 4",
            cfg(CONV + "[reorg]\nstride=3\n")),
    Refused("recurrent map that shrinks", IN_A,
            "net.cfg:5: layer 0 [crnn]: expected its input_layer to keep the map of 16x16, found "
            "14x14\n  hint: size=3 pad=1, or size=1",
            cfg("[crnn]\noutput=4\nhidden=2\nsize=3\n")),
    Refused("bottleneck of another width", INFO,
            "net.cfg:9: layer 0 [conv_lstm] bottleneck: expected an input of output=4 channels, "
            "found 3",
            cfg("[conv_lstm]\noutput=4\nsize=3\npad=1\nbottleneck=1\n")),
]  # fmt: skip

HEADS = [
    Refused("anchor that is no number", INFO,
            "net.cfg:10: layer 1 [yolo] anchors: expected a number, found x",
            yolo("classes=3", "num=2", "anchors=1,1,x,2")),
    Refused("filters that do not match classes",
            "finetune net.cfg --data net.data -o s.cfg s.weights",
            "net.cfg:8: layer 1 [yolo] classes: expected 18 input channels, 2 anchors x (5 + 4 "
            "classes), found 16\n  hint: filters=18 in the layer before, or classes=3 here",
            yolo("classes=4", "num=2", "anchors=1,1,2,2")),
    Refused("less than no classes", INFO,
            "net.cfg:8: layer 1 [yolo] classes: expected 0 or more, found -1",
            yolo("classes=-1", "num=2")),
    Accepted("odd number of anchors", INFO,
             "warning: net.cfg:10: layer 1 [yolo] anchors: 3 numbers where num=2 needs 4: the "
             "rest is 0.5, as in C\n",
             yolo("classes=3", "num=2", "anchors=1,1,2"), stdout="2 layers"),
    Accepted("mask beyond num", INFO,
             "warning: net.cfg:9: layer 1 [yolo] mask: 3,4 is not below num=3, where C reads other "
             "memory: the listed anchors count here\n",
             yolo("classes=3", "mask=3,4", "num=3", "anchors=1,1,2,2,3,3,4,4,5,5"),
             stdout="2 layers"),
    Accepted("mask beyond the anchors", INFO,
             "warning: net.cfg:9: layer 1 [yolo] mask: -1,3 is not below num=3, where C reads "
             "other memory: no anchor is listed, so its boxes are not decoded here\n",
             yolo("classes=3", "mask=-1,3", "num=3", "anchors=1,1,2,2,3,3"), stdout="2 layers"),
    Accepted("no classes", INFO,
             "warning: net.cfg:8: layer 1 [yolo] classes: without classes no box has a score, as "
             "in C\nwarning: net.names: has 3 names, but net.cfg predicts 0 classes\n",
             yolo("classes=0", "num=2", filters=10), stdout="0 classes"),
    Accepted("more anchors than num", INFO,
             "warning: net.cfg:10: layer 1 [yolo] anchors: 6 numbers where num=2 needs 4: the "
             "rest is ignored, as in C\n",
             yolo("classes=3", "num=2", "anchors=1,1,2,2,3,3"), stdout="2 layers"),
    Accepted("anchor of no size", INFO,
             "warning: net.cfg:10: layer 1 [yolo] anchors: a box of size 0 cannot be found\n",
             yolo("classes=3", "num=2", "anchors=0,1,2,2"), stdout="2 layers"),
]  # fmt: skip

GIGANTIC = [
    Refused("filters", INFO,
            "net.cfg:5: layer 0 [convolutional]: "
            + too_many("an output of 2000000000x16x16 has", 512000000000),
            conv("filters=2000000000")),
    Refused("picture", "detect net.cfg net.weights pics/0.png",
            "net.cfg:1: [net]: " + too_many("an input of 3x1000000x1000000 has", 3000000000000),
            whole("[net]\nwidth=1000000\nheight=1000000\nchannels=3\n" + CONV)),
    Refused("picture by an option", f"{INFO} --input-size 1000000x1000000",
            "net.cfg:1: [net]: " + too_many("an input of 3x1000000x1000000 has", 3000000000000)),
    Refused("matrix", INFO,
            "net.cfg:5: layer 0 [connected]: " + too_many("its weights have", 1536000000000),
            cfg("[connected]\noutput=2000000000\n")),
    Refused("recurrent state", IN_A,
            "net.cfg:5: layer 0 [rnn]: "
            + too_many("its input_layer.weights have", 1536000000000),
            cfg("[rnn]\noutput=4\nhidden=2000000000\n")),
    Refused("upsampling", INFO,
            "net.cfg:5: layer 0 [upsample]: "
            + too_many("an output of 3x16000000x16000000 has", 768000000000000),
            cfg("[upsample]\nstride=1000000\n")),
    Refused("history", INFO,
            "net.cfg:5: layer 0 [history]: "
            + too_many("an output of 6000000000x16x16 has", 1536000000000),
            cfg("[history]\nhistory_size=2000000000\n")),
    Refused("routes that double", INFO,
            "net.cfg:49: layer 21 [route]: "
            + too_many("an output of 8388608x16x16 has", 2147483648),
            cfg(CONV + "[route]\nlayers=-1,-1\n" * 100)),
    Refused("arrays that nobody stored", "convert net.cfg net.weights -o out.onnx",
            "net.cfg: making its initial arrays takes 3.597 TB of memory, more than there is\n"
            "  hint: a size in the cfg is too large, or this machine is too small for it",
            without_room),
    Refused("arrays to graft onto", "graft net.cfg net.weights huge.cfg -o out.weights",
            "huge.cfg: making its initial arrays takes 3.597 TB of memory, more than there is\n"
            "  hint: a size in the cfg is too large, or this machine is too small for it",
            huge_receiver),
    Refused("100,000 layers", INFO, "net.cfg: expected at most 10000 layers, found 100000",
            cfg("[avg]\n" * 100_000)),
    Refused("100 MB in one line", INFO,
            "net.cfg: expected a Darknet cfg, of 1,000,000 bytes at most, found 100,000,000",
            repeated(b"a" * 1_000_000)),
    Refused("100 MB of line ends", INFO,
            "net.cfg: expected a Darknet cfg, of 1,000,000 bytes at most, found 100,000,000",
            repeated(b"\n" * 1_000_000)),
    Refused("100 MB of brackets", "reclass net.cfg net.weights --keep cat -o s.cfg s.weights",
            "net.cfg: expected a Darknet cfg, of 1,000,000 bytes at most, found 100,000,000",
            repeated(b"[\n" * 500_000)),
    Refused("100 MB of options", INFO,
            "net.cfg: expected a Darknet cfg, of 1,000,000 bytes at most, found 100,000,036",
            repeated(b"a=1\n" * 250_000, start=NET.encode())),
    Refused("10 GB of nothing", INFO,
            f"net.cfg: {NO_CFG} a binary file",
            sparse),
    Refused("a million line ends", INFO, f"net.cfg: {NO_CFG} an empty file",
            repeated(b"\n", 1_000_000)),
    Refused("a million brackets", INFO,
            "net.cfg:1: expected the first section to be [net], found []",
            repeated(b"[\n", 1_000_000)),
]  # fmt: skip

ODD = [
    Accepted(
        "an option that nobody reads",
        INFO,
        "warning: net.cfg:7: layer 0 [convolutional] colour: unknown option, ignored\n",
        cfg("[convolutional]\nfilters=8\ncolour=red\n"),
        stdout="1 layers",
    ),
    Accepted(
        "a misspelt option",
        INFO,
        f"warning: {FIRST} fliters: unknown option, ignored; did you mean filters?\n",
        conv("fliters=8"),
        stdout="1 layers",
    ),
    Accepted(
        "an option without =",
        INFO,
        f"warning: {FIRST} filters8: there is no = in the line, ignored; did you mean "
        "filters=8?\n",
        conv("filters 8"),
        stdout="1 layers",
    ),
    Accepted("no value", INFO, f"warning: {FIRST} filters: has no value, ignored\n",
             conv("filters="), stdout="1 layers"),
    Accepted("a fraction", INFO, f"warning: {FIRST} filters: '8.5' is read as 8\n",
             conv("filters=8.5"), stdout="8x16x16"),
    Accepted("hexadecimal fraction", INFO,
             "warning: net.cfg:6: layer 0 [upsample] scale: '0x1.8p1m' is read as 0x1.8p1\n",
             cfg("[upsample]\nscale=0x1.8p1m\n"), stdout="1 layers"),
    Accepted("batch -1", INFO,
             "warning: net.cfg:5: [net] batch: expected 1 or more, found -1: read as -1, as in C; "
             "only training reads it\n",
             cfg("batch=-1\n" + CONV), stdout="1 layers"),
    Accepted("NaN that only training reads", INFO,
             "warning: net.cfg:5: [net] learning_rate: expected a number, found nan: read as nan, "
             "as in C; only training reads it\n",
             cfg("learning_rate=nan\n" + CONV), stdout="1 layers"),
    Accepted("float beyond its range that only training reads", INFO,
             "warning: net.cfg:5: [net] momentum: expected a number that C can hold, found 1e400: "
             "read as inf, as in C; only training reads it\n",
             cfg("momentum=1e400\n" + CONV), stdout="1 layers"),
    Accepted("integer beyond 32 bits that only training reads", INFO,
             "warning: net.cfg:5: [net] max_batches: expected a number that C can hold, found "
             "99999999999: read as 1215752191, as in C; only training reads it\n",
             cfg("max_batches=99999999999\n" + CONV), stdout="1 layers"),
    Accepted("a policy that C does not know", INFO,
             "warning: net.cfg:5: [net] policy: unknown name 'stepps' is constant, as in C; did "
             "you mean steps?\n",
             cfg("policy=stepps\n" + CONV), stdout="1 layers"),
    Accepted("groups that do not divide the channels", INFO,
             "warning: net.cfg:7: layer 0 [convolutional] groups: 2 groups do not divide 3 input "
             "channels: each reads 1, as in C\n",
             cfg("[convolutional]\nfilters=8\ngroups=2\n"), stdout="1 layers"),
    Accepted("groups 0 in AlexeyAB's program", IN_A,
             "warning: net.cfg:7: layer 0 [convolutional] groups: 0 is 1, as in C\n",
             cfg("[convolutional]\nfilters=8\ngroups=0\n"), stdout="1 layers"),
    Accepted("sampled shortcut", IN_A,
             "warning: net.cfg:15: layer 2 [shortcut] from: adds a map of 16x16 to one of 8x8: "
             "sampled, as AlexeyAB's program did until January 2020; later ones refuse it\n",
             cfg(CONV + HALF + "[shortcut]\nfrom=-2\n"), stdout="3 layers"),
    Accepted("a section by another name", INFO,
             "warning: net.cfg:7: layer 1 [yolo4]: is read as [yolo]: no Darknet has a section of "
             "this name\n",
             cfg("[convolutional]\nfilters=8\n[yolo4]\nclasses=3\n"), stdout="[yolo]: 3 classes"),
    Accepted("NUL behind a number", INFO, f"warning: {FIRST} filters: '8\\x00' is read as 8\n",
             conv("filters=8\0"), stdout="8x16x16"),
    Accepted(
        "an unknown activation",
        INFO,
        f"warning: {FIRST} activation: unknown name 'lekay' is relu, as in C; "
        "did you mean leaky?\n",
        conv("activation=lekay"),
        stdout="1 layers",
    ),
    Accepted(
        "sources that pjreddie does not read",
        IN_P,
        "warning: net.cfg:18: layer 3 [shortcut] from: the pjreddie dialect reads the first source "
        "only\n",
        cfg(CONV * 3 + "[shortcut]\nfrom=-2,-3\n"),
        stdout="4 layers",
    ),
    Accepted(
        "carriage returns, a byte order mark and no last line end",
        INFO,
        "",
        whole("\ufeff" + (NET + CONV).replace("\n", "\r\n").rstrip()),
        stdout="1 layers",
    ),
    Accepted(
        "50,000 options that nobody reads",
        INFO,
        "".join(
            f"warning: net.cfg:{6 + n}: layer 0 [convolutional] {n}: unknown option, ignored\n"
            for n in range(100)
        )
        + "warning: net.cfg:106: layer 0 [convolutional] 100: 49900 more remarks from here on\n",
        conv("\n".join(f"{n}=1" for n in range(50_000))),
        stdout="1 layers",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", [*TEXT, *OPTIONS, *GRAPH, *HEADS, *GIGANTIC, *ODD], ids=str)
def test_case(case, folder):
    check(case, folder)
