"""A copy of a Python package whose libraries see a processor without AVX-512 and VNNI.

    avx2_only.py PACKAGE_FOLDER TARGET_FOLDER

ONNX Runtime and TFLite have no switch for that. In the copy every `cpuid` instruction becomes `ud2`, and cpuid_avx2.c,
which is compiled here and has to be preloaded, answers in its place. Needs objdump and a C compiler. OpenVINO has a
switch of its own (ONEDNN_MAX_CPU_ISA) and needs none of this.
"""
import pathlib
import re
import shutil
import subprocess
import sys

CPUID, UD2 = b"\x0f\xa2", b"\x0f\x0b"
INSTRUCTION = re.compile(rb"^\s*([0-9a-f]+):\s+0f a2 \s*\tcpuid", re.MULTILINE)
SECTION = re.compile(rb"^\s*\d+ (\.\S+)\s+([0-9a-f]+)\s+([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)", re.MULTILINE)


def file_offset(sections, address):
    for start, length, offset in sections:
        if start <= address < start + length:
            return offset + address - start
    raise SystemExit(f"no section holds address {address:x}")


def patch(library):
    """Gives the number of instructions that were replaced."""
    headers = subprocess.run(["objdump", "-h", library], check=True, capture_output=True).stdout
    sections = [(int(vma, 16), int(size, 16), int(offset, 16)) for _, size, vma, offset in SECTION.findall(headers)]
    code = subprocess.run(["objdump", "-d", library], check=True, capture_output=True).stdout
    image = bytearray(library.read_bytes())
    addresses = [int(address, 16) for address in INSTRUCTION.findall(code)]
    for address in addresses:
        place = file_offset(sections, address)
        if image[place:place + 2] != CPUID:
            raise SystemExit(f"{library}: no cpuid at {address:x}")
        image[place:place + 2] = UD2
    library.write_bytes(image)
    return len(addresses)


def main(package, target):
    package, target = pathlib.Path(package), pathlib.Path(target)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    copy = target / package.name
    shutil.copytree(package, copy)
    here = pathlib.Path(__file__).parent
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", target / "cpuid_avx2.so", here / "cpuid_avx2.c"], check=True)
    replaced = sum(patch(library) for library in copy.rglob("*.so*") if library.is_file())
    if not replaced:
        raise SystemExit(f"{package}: no cpuid instruction found")
    print(f"{package.name}: {replaced} cpuid instructions replaced")


if __name__ == "__main__":
    main(*sys.argv[1:])
