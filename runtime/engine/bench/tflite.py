"""Makes the same models as models.py as int8 TFLite files, into a folder: NAME.tflite. Needs tensorflow, not onnx.

    tflite.py FOLDER
"""
import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

LAYERS = tf.keras.layers
MOBILENET_V2 = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3),
                (6, 160, 3, 2, 3), (6, 320, 1, 1, 3)]
EFFICIENTNET_LITE0 = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
                      (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]


def conv(x, channels, kernel, stride=1, act=None):
    x = LAYERS.Conv2D(channels, kernel, stride, "same")(x)
    return LAYERS.ReLU(6.0 if act == "relu6" else None)(x) if act else x


def depthwise(x, kernel, stride):
    return LAYERS.ReLU(6.0)(LAYERS.DepthwiseConv2D(kernel, stride, "same")(x))


def classifier(picture, x, classes):
    return tf.keras.Model(picture, LAYERS.Dense(classes)(LAYERS.GlobalAveragePooling2D()(x)))


def inverted_residuals(stages, pixels, classes, wide):
    picture = tf.keras.Input((pixels, pixels, 3), batch_size=1)
    channels = wide(32)
    x = conv(picture, channels, 3, 2, "relu6")
    for factor, outputs, count, first_stride, kernel in stages:
        for index in range(count):
            stride, before = first_stride if index == 0 else 1, x
            if factor > 1:
                x = conv(x, channels * factor, 1, 1, "relu6")
            x = conv(depthwise(x, kernel, stride), wide(outputs), 1)
            if stride == 1 and channels == wide(outputs):
                x = LAYERS.Add()([before, x])
            channels = wide(outputs)
    return classifier(picture, conv(x, 1280, 1, 1, "relu6"), classes)


def residual(x, channels, outputs, stride):
    y = conv(conv(x, outputs, 3, stride, "relu"), outputs, 3)
    short = x if stride == 1 and channels == outputs else conv(x, outputs, 1, stride)
    return LAYERS.ReLU()(LAYERS.Add()([y, short]))


def resnet18():
    picture, channels = tf.keras.Input((224, 224, 3), batch_size=1), 64
    x = LAYERS.MaxPool2D(3, 2, "same")(conv(picture, 64, 7, 2, "relu"))
    for outputs in (64, 128, 256, 512):
        for index in range(2):
            x = residual(x, channels, outputs, 2 if index == 0 and outputs > 64 else 1)
            channels = outputs
    return classifier(picture, x, 1000)


def resnet8():
    picture = tf.keras.Input((32, 32, 3), batch_size=1)
    x = conv(picture, 16, 3, 1, "relu")
    for channels, outputs, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2)):
        x = residual(x, channels, outputs, stride)
    return classifier(picture, x, 10)


def mobilenet_v3_small():
    return tf.keras.applications.MobileNetV3Small(
        input_tensor=tf.keras.Input((224, 224, 3), batch_size=1), weights=None, include_preprocessing=False,
        classifier_activation=None)


def narrowed(channels):
    return max(8, int(channels * 0.35 + 4) // 8 * 8)


MODELS = {
    "mobilenet_v2_224": lambda: inverted_residuals(MOBILENET_V2, 224, 1000, int),
    "mobilenet_v2_035_96": lambda: inverted_residuals(MOBILENET_V2, 96, 10, narrowed),
    "efficientnet_lite0_160": lambda: inverted_residuals(EFFICIENTNET_LITE0, 160, 1000, int),
    "efficientnet_lite0_224": lambda: inverted_residuals(EFFICIENTNET_LITE0, 224, 1000, int),
    "mobilenet_v3_small_224": mobilenet_v3_small,
    "resnet18_224": resnet18,
    "resnet8_32": resnet8,
}


def main(folder):
    random = np.random.default_rng(1)
    for name, make in MODELS.items():
        model = make()
        shape = model.input_shape
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [random.standard_normal(shape).astype(np.float32)] for _ in range(4))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        (pathlib.Path(folder) / f"{name}.tflite").write_bytes(converter.convert())
        print(name, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
