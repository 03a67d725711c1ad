# What is tried on the board. Sourced by init.sh.

camera $WEBCAM; still
echo "CASE cameras"; tinysaver cameras --json; echo "EXIT $?"

for size in 320x180 640x360; do
  for format in $FORMATS; do
    play "format $format $size" "v4l2:///dev/video0?size=$size&fps=30&format=$format" 2
  done
done
play 'format auto 1280x720' '/dev/video0?size=1280x720&fps=30' 2

# The driver's faults. Each run goes on after its fault.
CAMERA='/dev/video0?size=320x180&fps=30'

fault 'lost frames' "$CAMERA"
after 1; control /dev/video0 'Percentage of Dropped Buffers' 60
finish 5; control /dev/video0 'Percentage of Dropped Buffers' 0

fault 'flagged frame' "$CAMERA"
for n in 1 2 3; do after 1; control /dev/video0 'Inject V4L2_BUF_FLAG_ERROR'; done
finish 3

fault 'stream error' "$CAMERA"
after 2; control /dev/video0 'Inject Fatal Streaming Error'
sleep 1; finish 3

fault 'restart refused' "$CAMERA"
after 2; control /dev/video0 'Inject VIDIOC_REQBUFS Error'; control /dev/video0 'Inject Fatal Streaming Error'
sleep 1; after 3; control /dev/video0 'Inject VIDIOC_STREAMON Error'; control /dev/video0 'Inject Fatal Streaming Error'
sleep 1; finish 3

# Refused once: asked again, and nothing is lost. The log tells that it happened.
export RUST_LOG=tinysaver_board=debug
fault 'buffer refused' "$CAMERA"
unset RUST_LOG
for n in 1 2; do after 2; control /dev/video0 'Inject VIDIOC_QBUF Error'; done
finish 3

fault 'silence' "$CAMERA&timeout_ms=1000"
after 2; control /dev/video0 'Percentage of Dropped Buffers' 100
sleep 3; control /dev/video0 'Percentage of Dropped Buffers' 0
finish 3

fault 'unplugged and plugged in elsewhere' "$CAMERA"
after 2; control /dev/video0 'Disconnect'
# The program lets go of the node, the driver of its number; the camera comes back as another one.
n=0; while ! rmmod vivid 2> /dev/null && [ $n -lt 200 ]; do usleep 50000; n=$((n + 1)); done
insmod /modules/vivid.ko $WEBCAM vid_cap_nr=7 || echo 'BROKEN insmod again'
sleep 1; finish 3
[ -e /dev/video7 ] || echo 'BROKEN no /dev/video7'

# An HDMI input whose source changes its picture.
camera n_devs=1 node_types=0x1 num_inputs=1 input_types=0x3
fault 'changed input' "$CAMERA"
after 2; control /dev/video0 'DV Timings Signal Mode' 4
sleep 1; finish 3

# Each plane in a buffer of its own.
camera $WEBCAM multiplanar=2; still
for size in 320x180 640x360; do
  for format in NV12 YU12 NV16 YUYV; do
    play "planes $format $size" "v4l2:///dev/video0?size=$size&fps=30&format=$format" 2
  done
done

fault 'in use' "$CAMERA"
after 1; echo "CASE busy"; app "$CAMERA" 1; echo "EXIT $?"
finish 1

# The same bytes on every machine.
for file in /same/*; do play "same ${file##*/}" "$file" 100; done

# The overlay on the board's screen, which the emulator photographs; afterwards the framebuffer's picture comes back.
screen framebuffer fb:///dev/fb0 first
cp /tmp/framebuffer.png /tmp/before.png
screen drm drm:///dev/dri/card0 second
show 'after drm' /tmp/before.png

# The 32-bit program on the same kernel.
TINYSAVER=tinysaver32
camera $WEBCAM; still
play '32-bit format YUYV 640x360' '/dev/video0?size=640x360&fps=30&format=YUYV' 2
fault '32-bit stream error' "$CAMERA"
after 2; control /dev/video0 'Inject Fatal Streaming Error'
sleep 1; finish 3
camera $WEBCAM multiplanar=2; still
play '32-bit planes NV12 640x360' "v4l2:///dev/video0?size=640x360&fps=30&format=NV12" 2
for file in /same/*; do play "32-bit same ${file##*/}" "$file" 100; done
screen 'framebuffer 32-bit' fb:///dev/fb0 second
screen 'drm 32-bit' drm:// first
