# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest without a guest: programs that open a tap on a host, as QEMU would, and send and receive frames made by hand.

Where the name is that of a network card, they use that, for proofs from inside a guest or on another host's wire.

They are fed to the hosts' own Python as text; what they print is JSON.
"""

from __future__ import annotations

_TAP = """
import fcntl, json, os, select, socket, struct, sys, time

def tap(name):
    if not os.path.exists("/sys/class/net/%s/tun_flags" % name):
        card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3))
        card.bind((name, 0))
        return os.dup(card.fileno())
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, 0x400454CA, struct.pack("16sH22s", name.encode(), 0x0002 | 0x1000, b""))
    return handle

def mac(text):
    return bytes(int(pair, 16) for pair in text.split(":"))

def ip(text):
    return bytes(int(part) for part in text.split("."))

def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

def ethernet(to, sender, kind, payload):
    return mac(to) + mac(sender) + struct.pack("!H", kind) + payload

def ipv4(source, target, payload, protocol=17, fragment=0):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, fragment, 64, protocol, 0, ip(source), ip(target))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload

def ipv6(following, payload):
    addresses = bytes.fromhex("fe80000000000000000000fffe000000" "ff020000000000000000000000000001")
    return struct.pack("!IHBB", 6 << 28, len(payload), following, 255) + addresses + payload

def udp(source, target, payload):
    return struct.pack("!HHHH", source, target, 8 + len(payload), 0) + payload

def arp(operation, sender_mac, sender, target):
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac(sender_mac) + ip(sender) + bytes(6) + ip(target)

def tagged(frame, tag, kind=0x8100):
    return frame[:12] + struct.pack("!HH", kind, tag) + frame[12:]

EVERYBODY, NOBODY = "ff:ff:ff:ff:ff:ff", "0.0.0.0"
"""

LISTEN = (
    _TAP
    + """
# Makes file STAGE.ready, and listens until somebody makes STAGE.said.
longest, stage, *names = json.loads(sys.argv[1])
taps = {tap(name): name for name in names}
heard = {name: [] for name in names}
until = time.monotonic() + longest
open(stage + ".ready", "w").close()
while time.monotonic() < until:
    if stage and os.path.exists(stage + ".said"):
        # What is still on its way.
        until, stage = time.monotonic() + 1, ""
    for handle in select.select(list(taps), [], [], 0.1)[0]:
        _before, found, after = os.read(handle, 4096).partition(b"MARK:")
        heard[taps[handle]].append(after.partition(b";")[0].decode() if found else "unmarked")
print(json.dumps({name: sorted(set(marks)) for name, marks in heard.items()}))
"""
)

SEND = (
    _TAP
    + """
name, me, address, other, other_address, stranger, stranger_address = json.loads(sys.argv[1])
frames = {}

def add(mark, make):
    frames[mark] = make(b"MARK:" + mark.encode() + b";").ljust(60, b"\\0")

def as_me(payload, to=other):
    return ethernet(to, me, 0x0800, payload)

add("arp", lambda mark: ethernet(EVERYBODY, me, 0x0806, arp(1, me, address, other_address) + mark))
add("arp-probe", lambda mark: ethernet(EVERYBODY, me, 0x0806, arp(1, me, NOBODY, other_address) + mark))
add("udp", lambda mark: as_me(ipv4(address, other_address, udp(9, 9, mark))))
add("broadcast", lambda mark: as_me(ipv4(address, "255.255.255.255", udp(9, 9, mark)), EVERYBODY))
add("dhcp-question", lambda mark: as_me(ipv4(address, "255.255.255.255", udp(68, 67, mark)), EVERYBODY))
add("bad-mac", lambda mark: ethernet(other, stranger, 0x0800, ipv4(address, other_address, udp(9, 9, mark))))
add("bad-mac-of-target", lambda mark: ethernet(EVERYBODY, other, 0x0800, ipv4(address, other_address, udp(9, 9, mark))))
add("bad-address", lambda mark: as_me(ipv4(stranger_address, other_address, udp(9, 9, mark))))
add("bad-no-address", lambda mark: as_me(ipv4(NOBODY, "255.255.255.255", udp(68, 67, mark)), EVERYBODY))
add("bad-arp-address", lambda mark: ethernet(EVERYBODY, me, 0x0806, arp(2, me, stranger_address, other_address) + mark))
add("bad-arp-mac", lambda mark: ethernet(EVERYBODY, me, 0x0806, arp(2, stranger, address, other_address) + mark))
add("bad-dhcp-server", lambda mark: as_me(ipv4(address, "255.255.255.255", udp(67, 68, mark)), EVERYBODY))
add("bad-dhcp-server-to-one", lambda mark: as_me(ipv4(address, other_address, udp(67, 68, mark))))
add("bad-dhcp-answer-from-another-port", lambda mark: as_me(ipv4(address, "255.255.255.255", udp(1067, 68, mark)), EVERYBODY))
add("bad-dhcp-server-first-fragment", lambda mark: as_me(ipv4(address, "255.255.255.255", udp(67, 68, mark), fragment=0x2000), EVERYBODY))
router = bytes([134, 0, 0, 0, 64, 0, 7, 8]) + bytes(8)
add("bad-router", lambda mark: ethernet("33:33:00:00:00:01", me, 0x86DD, ipv6(58, router + mark)))
hidden = bytes([58, 0, 5, 2, 0, 0, 1, 0]) + router
add("bad-router-behind-a-header", lambda mark: ethernet("33:33:00:00:00:01", me, 0x86DD, ipv6(0, hidden + mark)))
add("bad-dhcpv6-server", lambda mark: ethernet("33:33:00:00:00:01", me, 0x86DD, ipv6(17, udp(547, 546, mark))))
add("bad-ipv6", lambda mark: ethernet("33:33:00:00:00:01", me, 0x86DD, ipv6(17, udp(9, 9, mark))))
add("bad-vlan", lambda mark: tagged(as_me(ipv4(address, other_address, udp(9, 9, mark))), 5))
add("bad-priority-tag", lambda mark: tagged(as_me(ipv4(address, other_address, udp(9, 9, mark))), 0))
add("bad-two-tags", lambda mark: tagged(tagged(as_me(ipv4(address, other_address, udp(9, 9, mark))), 5), 6, 0x88A8))
add("bad-rarp", lambda mark: ethernet(EVERYBODY, me, 0x8035, arp(3, me, address, address) + mark))
add("bad-spanning-tree", lambda mark: ethernet("01:80:c2:00:00:00", me, 60, b"\\x42\\x42\\x03" + mark))
add("bad-lldp", lambda mark: ethernet("01:80:c2:00:00:0e", me, 0x88CC, mark))
handle = tap(name)
time.sleep(0.3)
# Twice: the first frame towards a peer may be lost while the underlay looks for it.
for _round in range(2):
    for frame in frames.values():
        os.write(handle, frame)
        time.sleep(0.005)
    time.sleep(0.3)
print(json.dumps(sorted(frames)))
"""
)

KNOCK = (
    _TAP
    + """
name, me, address, host_address = json.loads(sys.argv[1])
ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ear.bind((host_address, 0))
ear.setblocking(False)
port = ear.getsockname()[1]
host = open("/sys/class/net/%s/address" % name).read().strip()
handle = tap(name)
time.sleep(0.3)
for to in (host, EVERYBODY):
    os.write(handle, ethernet(to, me, 0x0800, ipv4(address, host_address, udp(9, port, b"knock"))).ljust(60, b"\\0"))
    os.write(handle, ethernet(to, me, 0x0806, arp(1, me, address, host_address)).ljust(60, b"\\0"))
time.sleep(0.5)
heard, answered = 0, 0
try:
    while ear.recv(99):
        heard += 1
except BlockingIOError:
    pass
try:
    while True:
        answered += os.read(handle, 4096)[6:12] == mac(host)
except BlockingIOError:
    pass
print(json.dumps({"heard": heard, "answered": answered}))
"""
)

# Asks for some addresses as a machine of the network would, and pings whoever answers; the first is to stay silent.
PING = (
    _TAP
    + """
name, me, address, silent, *targets = json.loads(sys.argv[1])
handle = tap(name)
time.sleep(0.3)
targets.append(silent)
found = {target: "" for target in targets}
answered = {target: target == silent for target in targets}
begun = time.monotonic()
asked = 0.0
while time.monotonic() < begun + (1.5 if all(answered.values()) else 10):
    if time.monotonic() - asked > 0.5:
        asked = time.monotonic()
        for target in targets:
            os.write(handle, ethernet(EVERYBODY, me, 0x0806, arp(1, me, address, target)).ljust(60, b"\\0"))
            if found[target]:
                echo = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + b"echo"
                echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
                os.write(handle, ethernet(found[target], me, 0x0800, ipv4(address, target, echo, protocol=1)).ljust(60, b"\\0"))
    for _ready in select.select([handle], [], [], 0.1)[0]:
        frame = os.read(handle, 4096)
        sender = ":".join("%02x" % byte for byte in frame[6:12])
        if frame[12:14] == b"\\x08\\x06" and frame[20:22] == b"\\0\\2":
            source = ".".join(str(byte) for byte in frame[28:32])
            if source in found:
                found[source] = sender
        elif frame[12:14] == b"\\x08\\0" and frame[23] == 1 and frame[34] == 0:
            source = ".".join(str(byte) for byte in frame[26:30])
            if source in answered:
                answered[source] = True
print(json.dumps({target: found[target] if answered[target] else "" for target in targets}))
"""
)
