# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts for partitions.conf: how OpenSM 3.3.23 reads them, seen on a simulated fabric (tests/lab/test_fabric.py looks again)."""

from __future__ import annotations

from typing import Optional

ONE, TWO = "0x0200271600000000", "0x0200271600000001"

Read = list[tuple[str, Optional[int], set[tuple[str, str]]]]

# Text -> (name, pkey, members) of each definition.
READ: dict[str, Read] = {
    f"a=0x5 : {ONE}=full ;": [("a", 5, {(ONE, "full")})],
    f"a=0x8005:{ONE}=full,{TWO}=limited;": [("a", 5, {(ONE, "full"), (TWO, "limited")})],
    f"a=0x5 :\n  {ONE}=full,\n  {TWO}=full ;": [("a", 5, {(ONE, "full"), (TWO, "full")})],
    f"a=5 : {ONE}=full ; b=06 : {TWO}=full ;": [("a", 5, {(ONE, "full")}), ("b", 6, {(TWO, "full")})],
    f"0x5 : {ONE}=f ;": [("", 5, {(ONE, "full")})],
    f"a=0x5 : {ONE} ;": [("a", 5, {(ONE, "limited")})],
    f"a=0x5 : {ONE}=nonsense ;": [("a", 5, {(ONE, "limited")})],
    f"a=0x5, defmember=full : {ONE}, NONE ;": [("a", 5, {(ONE, "full")})],
    f"a=0x5, ipoib, nonsense : {ONE}=full, ;": [("a", 5, {(ONE, "full")})],
    f"a=0x5 : {ONE}=full ; # b : rubbish": [("a", 5, {(ONE, "full")})],
    f"a=0x5 : {int(ONE, 16)}=full ;": [("a", 5, {(ONE, "full")})],
    "a=0x5 : A=full ;": [("a", 5, {("ALL", "full")})],
    "a=0x5 : S=full ;": [("a", 5, {("SELF", "full")})],
}

# On each of these OpenSM gives up the whole file.
BROKEN = (
    f"a=0x5 : {ONE[:-1]}z=full ;",
    f"a=0x5 {ONE}=full ;",
    "a=0x5 : 0=full ;",
    f"a=0x5z : {ONE}=full ;",
    "a=0x5 : all=full ;",
    f"a=0x5 : {ONE}=full ;\r",
    f"a=0x5 : defmember=full : {ONE} ;",
    f"a=0x5 :\n  {ONE}=full\n;",
    "a=0x5 :\n ;",
    "rubbish",
    ";",
)
