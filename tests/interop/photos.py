"""Pictures for the checks: the demo photos, and parts of them as a camera might have seen them."""
import pathlib
import random
import shutil

from PIL import Image, ImageOps

SUFFIXES = (".jpg", ".png", ".webp")


def found(folder):
    return [path for path in sorted(pathlib.Path(folder).rglob("*")) if path.suffix in SUFFIXES]


def part(image, chance):
    """A random part of 60 to 100 % of each axis, mirrored half of the time, as 640 x 480."""
    share = chance.uniform(0.6, 1.0)
    size = [int(axis * share) for axis in image.size]
    left, top = (chance.randint(0, whole - axis) for whole, axis in zip(image.size, size))
    cut = image.crop((left, top, left + size[0], top + size[1]))
    if chance.random() < 0.5:
        cut = ImageOps.mirror(cut)
    return ImageOps.fit(cut, (640, 480), Image.BICUBIC)


def cut(photos, folder, each):
    """`each` parts of every photo, without loss; gives how many were written."""
    chance, count = random.Random(1), 0
    for path in found(photos):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        for number in range(each):
            part(image, chance).save(pathlib.Path(folder) / f"{path.stem}-{number:02}.png")
            count += 1
    return count


def widened(photos, folder, count):
    """The photos as they are, and parts of them as JPEG up to `count`; gives how many are whole."""
    whole, chance = found(photos)[:count], random.Random(2)
    for path in whole:
        shutil.copy(path, pathlib.Path(folder) / path.name)
    for number in range(count - len(whole)):
        path = whole[number % len(whole)]
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        part(image, chance).save(pathlib.Path(folder) / f"{path.stem}-part{number:03}.jpg", quality=95)
    return len(whole)
