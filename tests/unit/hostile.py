# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text that nobody's name is.  Every option that takes a name refuses all of it; used for the model and for the modules' options alike."""

from __future__ import annotations

import pytest

# id -> text
HOSTILE: dict[str, str] = {
    "empty": "",
    "space": " ",
    "inner_space": "a b",
    "leading_space": " a",
    "trailing_space": "a ",
    "tab": "a\tb",
    "newline": "a\nb",
    "trailing_newline": "a\n",
    "carriage_return": "a\rb",
    "nul": "a\x00b",
    "escape_sequence": "a\x1b[31mb",
    "delete": "a\x7f",
    "line_separator": "a\u2028b",
    "semicolon": "a;reboot",
    "substitution": "a$(reboot)",
    "backticks": "a`reboot`",
    "variable": "${HOME}",
    "pipe": "a|reboot",
    "ampersand": "a&reboot",
    "redirection": "a>b",
    "single_quote": "a'b",
    "double_quote": 'a"b',
    "backslash": "a\\b",
    "comment": "a#b",
    "home": "~root",
    "wildcard": "*",
    "question_mark": "a?",
    "parent": "..",
    "parent_path": "../../etc/passwd",
    "inner_parent": "a/../b",
    "two_dots": "a..b",
    "absolute": "/etc/passwd",
    "slash": "a/b",
    "leading_dot": ".ssh",
    "leading_dash": "-rf",
    "option": "--help",
    "percent": "a%n",
    "equals": "a=b",
    "colon": "a:b",
    "markup": "<name>a</name>",
    "entity": "a&amp;b",
    "json": '{"a": 1}',
    "template": "a{b}c",
    "group": "@all",
    "exclusion": "a!b",
    "long": "a" * 200,
    "very_long": "a" * 100_000,
    "umlaut": "knöten",
    "homoglyph": "\u0441ompute0",
    "arabic_digit": "compute\u0661",
    "fullwidth_digit": "compute\uff11",
    "superscript_digit": "compute\u00b2",
    "zero_width_space": "a\u200bb",
    "right_to_left": "a\u202eb",
    "combining": "a\u0301",
    "emoji": "\U0001f680",
    "reversed_range": "n[3-1]",
    "empty_range": "n[]",
    "open_range": "n[1-3",
    "padded_range": "n[1-03]",
    "adjacent_ranges": "n[1-2][3-4]",
}

# Not even text, as YAML may read it: what a name option may get when somebody forgot the quotes.
NOT_TEXT: dict[str, object] = {
    "none": None,
    "number": 5,
    "boolean": True,
    "float": 1.5,
    "list": ["a"],
    "mapping": {"a": "b"},
    "bytes": b"a",
}

every_hostile = pytest.mark.parametrize("hostile", list(HOSTILE.values()), ids=list(HOSTILE))
every_not_text = pytest.mark.parametrize("value", list(NOT_TEXT.values()), ids=list(NOT_TEXT))
