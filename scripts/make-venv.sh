#!/bin/sh
# Makes a virtual environment: make-venv.sh PYTHON FOLDER
#
# Debian splits ensurepip off from Python; there the system's pip puts a pip into the environment.
set -eu

python=$1
folder=$2

fail() {
    echo "castwork: $1" >&2
    exit 1
}

command -v "$python" > /dev/null 2>&1 || fail "no $python here; name yours: make PYTHON=/path/to/python3.11"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version 2>&1) is too old, 3.11 or newer is needed; name yours: make PYTHON=python3.12"

# The folder is made anew, so that no half-made one stays in use.
if "$python" -c 'import ensurepip, venv' 2> /dev/null; then
    "$python" -m venv --clear "$folder"
elif "$python" -c 'import pip, venv' 2> /dev/null; then
    "$python" -m venv --clear --without-pip "$folder"
    "$python" -m pip --python "$folder/bin/python" install --quiet pip ||
        fail "cannot put pip into $folder; install venv support instead: apt-get install python3-venv"
else
    fail "$python has neither ensurepip nor pip; install venv support: apt-get install python3-venv"
fi
