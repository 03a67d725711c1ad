#!/bin/sh
# The emulated board's first process: loads the camera driver, plays the cases, and switches the board off. Every case
# prints `CASE name`, then the program's JSON lines, then `EXIT code`; vm_test.py reads and judges them.
b=/bin/busybox
$b mkdir -p /proc /sys /dev /tmp
$b mount -t devtmpfs dev /dev; $b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t tmpfs tmp /tmp
exec > /dev/console 2>&1
$b --install -s /bin
export PATH=/bin

echo "BOARD $(uname -rm), up $(cut -d' ' -f1 /proc/uptime) s"
for module in $(cat /modules/order); do insmod "/modules/$module" || echo "BROKEN insmod $module"; done

WEBCAM='n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0'
camera() { rmmod vivid 2> /dev/null; insmod /modules/vivid.ko "$@" || echo "BROKEN insmod vivid $*"; }
control() { board_control "$@" || echo "BROKEN control $*"; }
# The picture must be the same in every run: no running clock in it.
still() { control "${1:-/dev/video0}" 'OSD Text Mode' 2; }

# app SOURCE FRAMES [OPTION...]: classifies; its lines go to the file of the case.
TINYSAVER=tinysaver
app() {
  app_source=$1 app_frames=$2; shift 2
  timeout -s INT 240 $TINYSAVER run --json --pair /pair/pair.toml --saver "$SAVER" --base "$SAVER" --threshold 0 \
    --source "$app_source" --frames "$app_frames" "$@"
}
# case NAME SOURCE FRAMES
play() { echo "CASE $1"; app "$2" "$3"; echo "EXIT $?"; }
# The same in the background and without end, so that something can happen to it: fault NAME SOURCE; after N answers
# more; finish N ends it when there are N more.
fault() { name=$1; app "$2" 1000000 > /tmp/out 2> /tmp/err & pid=$!; answers=0; }
after() {
  answers=$(($(grep -c '"answered"' /tmp/out) + $1)); n=0
  while [ "$(grep -c '"answered"' /tmp/out)" -lt $answers ] && [ -e /proc/$pid ] && [ $n -lt 600 ]; do usleep 50000; n=$((n + 1)); done
}
finish() {
  after "$1"; killall -INT $TINYSAVER; wait $pid; code=$?
  echo "CASE $name"; cat /tmp/out /tmp/err; echo "EXIT $code"
}

# show NAME PNG: the emulator compares its screen with the picture, and answers when it has.
show() { echo "SCREEN $1"; base64 "$2"; echo SHOWN; read -r seen < /dev/console; }
# screen NAME DISPLAY VIDEO: one frame on a display and in a file of its size; the stream stays open until it was seen.
screen() {
  file="/tmp/${1%% *}.png"; rm -f "$file" /tmp/live.y4m /tmp/seen; mkfifo /tmp/live.y4m
  { cat "/screens/$3.y4m"; while [ ! -e /tmp/seen ]; do usleep 50000; done; } > /tmp/live.y4m & feeder=$!
  app /tmp/live.y4m 100 --display "$2" --display "png:$file?size=$SCREEN" > /tmp/out 2> /tmp/err & pid=$!; n=0
  while [ ! -e "$file" ] && [ -e /proc/$pid ] && [ $n -lt 600 ]; do usleep 50000; n=$((n + 1)); done
  show "$1" "$file"
  touch /tmp/seen; wait $pid; code=$?; kill $feeder 2> /dev/null
  echo "CASE screen $1"; cat /tmp/out /tmp/err; echo "EXIT $code"
}

. /cases.sh
echo "BOARD off, up $(cut -d' ' -f1 /proc/uptime) s"
poweroff -f
