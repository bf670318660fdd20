#!/bin/sh
# Make a virtual environment in $1 with the newest suitable Python, or say in a sentence what is missing.
set -eu
venv=$1

suitable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

[ -x "$venv/bin/python" ] && suitable "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1 && exit 0

python=
for name in python3 python3.13 python3.12 python3.11 python3.14; do
    if command -v "$name" >/dev/null 2>&1 && suitable "$name"; then
        python=$name
        break
    fi
done
if [ -z "$python" ]; then
    echo "Glassbox needs Python 3.11 or newer, and none was found." >&2
    echo "Debian, Ubuntu: sudo apt-get install -y python3 python3-venv    macOS: brew install python@3.12" >&2
    exit 1
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "Installing $package, which Debian keeps apart from Python."
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package"
    else
        echo "Python cannot make virtual environments here. Install what is missing: sudo apt-get install -y $package" >&2
        exit 1
    fi
fi
"$python" -m venv "$venv"
