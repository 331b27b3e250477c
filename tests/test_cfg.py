"""cfg text: what the C parsers accept, byte for byte back, edits of single lines."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from darkconv.core.options import option_place
from darkconv.core.section import Line, Section
from darkconv.darknet.cfg import cfg_bytes, format_cfg, parse_cfg, read_cfg
from darkconv.errors import CfgError, Where

NET = "[net]\nwidth=4\n[convolutional]\n"


def options_of(text, index=1):
    section = parse_cfg(text).sections[index]
    return {key: line.value for key, line in section.options().items()}


def test_blanks_are_dropped_everywhere():
    assert options_of(NET + " fil\tters = 1 2 \t\n") == {"filters": "12"}


def test_comment_lines_and_blank_lines_are_no_options():
    assert options_of(NET + "# a=1\n  ; b=2\n\nsize=3\n") == {"size": "3"}


def test_first_of_repeated_keys_wins():
    assert options_of(NET + "size=3\nsize=5\n") == {"size": "3"}


def test_a_line_without_value_hides_no_other_as_read_option_drops_it():
    section = parse_cfg(NET + "filters=\nfilters=8\nfilters=9\n").sections[1]
    assert section.get("filters") == "8"
    changed = section.set({"filters": 4})
    assert [line.raw for line in changed.lines] == ["filters=\n", "filters=4\n", "filters=9\n"]
    assert parse_cfg(NET + "filters\nfilters=8\n").sections[1].get("filters") is None


def test_value_ends_at_the_line_and_keeps_its_comment_as_in_c():
    assert options_of(NET + "filters=192#232\n") == {"filters": "192#232"}


def test_key_without_value_is_kept_as_one():
    assert options_of(NET + "pad\nempty=\n") == {"pad": None, "empty": None}


def test_value_may_hold_an_equals_sign():
    assert options_of(NET + "tree=a=b\n") == {"tree": "a=b"}


@pytest.mark.parametrize(
    "text",
    [
        NET,
        "\ufeff" + NET,
        NET.replace("\n", "\r\n"),
        "\n# lead\n" + NET + "size=3",
        NET + "  odd   =  value \t # note\n\n\n",
        NET + "stray \x0b\x0c\x85\u2028 bytes=1\n",
        "[network]\n[conv]",
    ],
    ids=["plain", "bom", "crlf", "lead", "spacing", "separators", "no newline"],
)
def test_text_comes_back_byte_for_byte(text):
    assert format_cfg(parse_cfg(text)) == text


LINES = st.one_of(
    st.sampled_from(["[convolutional]", " [ max ] ", "size=3", "# note", "", "pad", "a==b\t"]),
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20),
)


@given(st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n"])), max_size=30))
def test_every_text_comes_back_or_is_refused(lines):
    text = NET + "".join(line + ending for line, ending in lines)
    try:
        config = parse_cfg(text)
    except CfgError:
        return
    assert format_cfg(config) == text


def test_bytes_that_are_no_utf8_come_back(tmp_path):
    path = tmp_path / "net.cfg"
    path.write_bytes(b"[net]\nwidth=4\n# caf\xe9 \xff\n[maxpool]\n")
    assert cfg_bytes(read_cfg(path)) == path.read_bytes()


def test_only_the_changed_line_differs():
    text = NET.replace("\n", "\r\n") + "  filters = 75   # for 20 classes\r\nsize=1\r\n"
    config = parse_cfg(text).with_section(1, {"filters": 27, "size": 1})
    assert format_cfg(config) == text.replace("75", "27")


def test_lists_and_numbers_are_written_as_in_cfgs():
    section = parse_cfg(NET + "a=1\n").sections[1]
    written = section.set({"a": (1, 2), "b": 0.25, "c": True, "d": 1e-5})
    assert [line.raw for line in written.lines] == ["a=1,2\n", "b=0.25\n", "c=1\n", "d=1e-05\n"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("size=3\n\n# end\n", "size=3\nnew=1\n\n# end\n"),
        ("size=3", "size=3\nnew=1\n"),
        ("", "new=1\n"),
    ],
    ids=["before blank lines", "no newline at the end", "empty section"],
)
def test_added_option_stands_behind_the_last_one(body, expected):
    config = parse_cfg(NET + body).with_section(1, {"new": 1})
    assert format_cfg(config) == NET + expected


def test_added_option_follows_a_header_without_newline():
    config = parse_cfg("[net]\nwidth=1\n[yolo]").with_section(1, {"classes": 2})
    assert format_cfg(config) == "[net]\nwidth=1\n[yolo]\nclasses=2\n"


def test_equal_sections_share_their_lines_and_know_their_places():
    config = parse_cfg(f"# four\n{NET}size=3\n[yolo]\n[max]\nsize=3\n[max]\nsize=3\n")
    first, second = config.sections[-2:]
    assert first.lines is second.lines
    assert config.distinct_sections == config.sections[:-1]
    for section, line in ((first, 8), (second, 10)):
        here = Where(line=section.number)
        assert option_place(section.options()["size"], here) == Where(line=line, option="size")


def test_edited_section_reads_as_its_text():
    section = Section("x", 1, Line("[x]\n", 0), (Line.parse("a = 7 # b\n", 1),)).set({"a": 8})
    assert section.get("a") == "8#b"
    assert section.lines[0].raw == "a = 8 # b\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "an empty file"),
        ("# nothing\n", "nothing but comments"),
        ("width=416\n[net]\n", "'width=416'"),
        ("<!DOCTYPE html>\n<html>", "an HTML page"),
        ("\0\0\0\x02\0", "a binary file"),
    ],
)
def test_what_is_no_cfg_is_named(text, found):
    with pytest.raises(CfgError) as caught:
        parse_cfg(text, file="x.cfg")
    assert caught.value.found == found
    assert str(caught.value).startswith("x.cfg")


def test_first_section_has_to_be_net():
    with pytest.raises(CfgError, match=r"x.cfg:2: expected the first section to be \[net\]"):
        parse_cfg("\n[convolutional]\n", file="x.cfg")


def test_network_without_layers_is_refused():
    with pytest.raises(CfgError, match="has no layers"):
        parse_cfg("[net]\nwidth=4\n")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CfgError, match=r"none.cfg: cannot read: No such file"):
        read_cfg(tmp_path / "none.cfg")
