# Sourced by ./reproduce and ./check from the root of the checkout: makes .venv with Python 3.11 or later, once,
# and leaves `install`, which installs into it at the versions of the lock.
# PYTHON names the interpreter to use, when the first one found is not the one wanted.

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "No Python 3.11 or later found. Install one, or name it: PYTHON=/path/to/python $0" >&2
  return 2
}

install() {
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$@"
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  python="$(find_python)"
  "$python" -m venv --clear .venv
fi
