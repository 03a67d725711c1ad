"""Pictures as this test meets them, without a library: (width, height, rows of R G B from the top)."""

import struct
import zlib


def read_ppm(data):
    """A binary PPM (P6) of 8 bits, as QEMU writes its screenshots."""
    magic, width, height, limit, pixels = *data.split(maxsplit=4)[:4], data[data.index(b"255") + 4:]
    if magic != b"P6" or limit != b"255":
        raise ValueError("no PPM of 8 bits")
    return checked(int(width), int(height), pixels)


def read_png(data):
    """A PNG of 8 bits R G B, not interlaced: W3C PNG, sections 5 and 9."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("no PNG")
    header, packed, at = None, b"", 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        header, packed, at = body if kind == b"IHDR" else header, packed + body * (kind == b"IDAT"), at + 12 + length
    width, height, *rest = struct.unpack(">IIBBBBB", header)
    if rest != [8, 2, 0, 0, 0]:
        raise ValueError(f"a PNG of another kind: {rest}")
    return checked(width, height, unfiltered(zlib.decompress(packed), width * 3))


def unfiltered(rows, length):
    above, out = bytes(length), bytearray()
    for start in range(0, len(rows), length + 1):
        kind, row = rows[start], bytearray(rows[start + 1:start + 1 + length])
        for i in range(length) if kind else ():
            left, up, corner = (row[i - 3], above[i], above[i - 3]) if i >= 3 else (0, above[i], 0)
            row[i] = row[i] + (left, up, (left + up) // 2, paeth(left, up, corner))[kind - 1] & 255
        out += row
        above = bytes(row)
    return bytes(out)


def paeth(left, up, corner):
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def checked(width, height, pixels):
    if len(pixels) != width * height * 3:
        raise ValueError(f"{len(pixels)} bytes for {width} x {height} pixels")
    return width, height, pixels


def difference(one, other):
    """None where they are the same, and otherwise how they differ, in words."""
    if one[:2] != other[:2]:
        return f"{one[0]}x{one[1]} and {other[0]}x{other[1]} pixels"
    if one[2] == other[2]:
        return None
    width = one[0]
    wrong = [i for i in range(width * one[1]) if one[2][3 * i:3 * i + 3] != other[2][3 * i:3 * i + 3]]
    return f"{len(wrong)} of {width * one[1]} pixels differ, the first at column {wrong[0] % width}, row {wrong[0] // width}"
