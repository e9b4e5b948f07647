"""An IP packet as the kernel queues it: whose it is, and what a reset in its place looks like."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

TCP = 6
FIN, SYN, RST, ACK = 1, 2, 4, 16
_V4, _V6 = struct.Struct(">BBHHHBBH4s4s"), struct.Struct(">IHBB16s16s")
_TCP = struct.Struct(">HHIIBBHHH")


@dataclass(frozen=True)
class Packet:
    """Addresses in network form; ports, flags and numbers are 0 for what is not TCP. `payload` counts bytes."""

    source: bytes
    target: bytes
    source_port: int = 0
    target_port: int = 0
    sequence: int = 0
    acknowledged: int = 0
    flags: int = 0
    payload: int = 0
    size: int = 0

    @property
    def opens(self) -> bool:
        return bool(self.flags & SYN) and not self.flags & ACK


def read(data: bytes) -> Packet | None:
    """None for what is too short to be a packet."""
    if not data:
        return None
    version = data[0] >> 4
    if version == 4 and len(data) >= _V4.size:
        head, protocol = (data[0] & 15) * 4, data[9]
        source, target = data[12:16], data[16:20]
    elif version == 6 and len(data) >= _V6.size:
        head, protocol = 40, data[6]
        source, target = data[8:24], data[24:40]
    else:
        return None
    if protocol != TCP or len(data) < head + _TCP.size:
        return Packet(source, target, size=len(data))
    source_port, target_port, sequence, acknowledged, offset, flags, *_ = _TCP.unpack_from(data, head)
    payload = max(0, len(data) - head - (offset >> 4) * 4)
    return Packet(source, target, source_port, target_port, sequence, acknowledged, flags, payload, len(data))


def reset(packet: Packet) -> bytes:
    """The same sender's reset, which the receiver takes for genuine: it has the sequence number that is due next."""
    ports = packet.source_port, packet.target_port
    fields = (*ports, packet.sequence, packet.acknowledged, 5 << 4, RST | ACK, 0, 0, 0)
    bare = _TCP.pack(*fields)
    if len(packet.source) == 4:
        pseudo = packet.source + packet.target + struct.pack(">BBH", 0, TCP, len(bare))
        head = _V4.pack(0x45, 0, 20 + len(bare), 0, 0, 64, TCP, 0, packet.source, packet.target)
        head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    else:
        pseudo = packet.source + packet.target + struct.pack(">IxxxB", len(bare), TCP)
        head = _V6.pack(6 << 28, len(bare), TCP, 64, packet.source, packet.target)
    return head + bare[:16] + struct.pack(">H", checksum(pseudo + bare)) + bare[18:]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1])) + (
        data[-1] << 8 if len(data) % 2 else 0
    )
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
