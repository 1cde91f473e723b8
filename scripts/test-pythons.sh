#!/bin/sh
# Runs all tests but the demo's on other Pythons: test-pythons.sh "PYTHON..." [PYTEST ARGUMENT...]
#
# Each has an environment below .venv-pythons, made anew when a requirements file has changed. A name
# that is not on PATH is looked for among pyenv's versions.
set -eu

pythons=$1
shift

find_python() {
    if "$1" -c '' 2> /dev/null; then
        echo "$1"
    elif prefix=$(pyenv prefix "${1#python}" 2> /dev/null); then
        echo "$prefix/bin/python"
    else
        echo "castwork: no $1 here; name yours: make test-pythons PYTHONS=/path/to/python3.12" >&2
        return 1
    fi
}

install() { # PYTHON FOLDER
    [ "$2/.installed" -nt requirements/run.txt ] && [ "$2/.installed" -nt requirements/dev.txt ] &&
        [ "$2/.installed" -nt pyproject.toml ] && return
    echo "castwork: installing into $2" >&2
    sh scripts/make-venv.sh "$1" "$2"
    pip="$2/bin/python -m pip install --quiet --disable-pip-version-check"
    $pip --only-binary :all: -r requirements/dev.txt
    $pip --no-deps --no-build-isolation -e .
    touch "$2/.installed"
}

failed=""
for name in $pythons; do
    python=$(find_python "$name")
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    folder=.venv-pythons/$version
    install "$python" "$folder"
    echo "castwork: the tests on Python $version" >&2
    "$folder/bin/python" -m pytest --numprocesses "${PROCESSES:-2}" --dist loadgroup \
        --ignore tests/demo "$@" || failed="$failed $version"
done
[ -z "$failed" ] || { echo "castwork: failed on Python$failed" >&2; exit 1; }
