#!/bin/sh
# Check that the system has the libraries Qt needs, with the Python in $1; on Debian and Ubuntu as root, install them.
set -eu
python=$1
packages="libegl1 libgl1 libopengl0 libglib2.0-0 libfontconfig1 libfreetype6 libdbus-1-3 libxkbcommon0 libxkbcommon-x11-0 \
libx11-xcb1 libxcb1 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render0 \
libxcb-render-util0 libxcb-shape0 libxcb-shm0 libxcb-sync1 libxcb-util1 libxcb-xfixes0 libxcb-xkb1 fonts-dejavu-core"

[ "$(uname -s)" = Linux ] || exit 0

missing() {
    "$python" - <<'END'
import ctypes

LIBRARIES = (
    "libEGL.so.1", "libGL.so.1", "libfontconfig.so.1", "libdbus-1.so.3", "libxkbcommon.so.0", "libxkbcommon-x11.so.0",
    "libX11-xcb.so.1", "libxcb-cursor.so.0", "libxcb-icccm.so.4", "libxcb-image.so.0", "libxcb-keysyms.so.1",
    "libxcb-randr.so.0", "libxcb-render-util.so.0", "libxcb-shape.so.0", "libxcb-sync.so.1", "libxcb-xfixes.so.0",
    "libxcb-xkb.so.1",
)
for name in LIBRARIES:
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name, end=" ")
END
}

lost=$(missing)
[ -z "$lost" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing the system libraries that Qt needs."
    apt-get update -qq
    install="apt-get install -y -qq --no-install-recommends"
    export DEBIAN_FRONTEND=noninteractive
    if ! $install $packages >/dev/null 2>&1; then
        # a name that this release spells differently must not hold up the others
        for package in $packages; do
            $install "$package" >/dev/null 2>&1 || echo "$package could not be installed"
        done
    fi
    lost=$(missing)
    [ -z "$lost" ] && exit 0
fi
echo "Qt needs system libraries that are missing here: $lost" >&2
if command -v apt-get >/dev/null 2>&1; then
    echo "Install them with: sudo apt-get install -y $packages" >&2
fi
# Without a screen the demonstration runs all the same, so this is fatal only if Qt itself cannot be loaded.
"$python" -c 'import PySide6.QtWidgets' 2>/dev/null || exit 1
