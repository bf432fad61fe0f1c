#!/usr/bin/env bash
# Sets up the virtual environment .venv: `scripts/setup.sh run` for the demo and the services,
# `scripts/setup.sh test` for everything that the tests, the linters and the benchmarks need as well.
# It does its work once, and again when pyproject.toml, constraints.txt or this script change.
#
#   PYTHON=/path/to/python3.11 scripts/setup.sh run    # chooses the interpreter
set -euo pipefail
cd "$(dirname "$0")/.."

level=${1:-run}
case $level in run | test) ;; *) echo "usage: scripts/setup.sh run|test" >&2; exit 2 ;; esac
venv=.venv
log=$venv/setup.log
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf '[setup] %s\n' "$*"; }
fail() { printf '[setup] error: %s\n' "$*" >&2; exit 1; }

digest=$(cat pyproject.toml constraints.txt scripts/setup.sh | sha256sum | cut -c1-16)
stamp() { echo "$venv/.setup-$1-$digest"; }
is_python() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
    if command -v "$candidate" >/dev/null && is_python "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# Debian packages: by apt where we are root, otherwise a message. $1: what for; the rest: packages.
apt_updated=no
debian() {
  local purpose=$1
  shift
  if ! command -v apt-get >/dev/null; then
    say "missing: $purpose; install the equivalent of the Debian packages: $*"
    return 1
  elif [ "$(id -u)" != 0 ]; then
    say "missing: $purpose; as root: apt-get install $*"
    return 1
  fi
  say "Debian packages for $purpose: $*"
  if [ $apt_updated = no ]; then
    apt-get update -qq >>"$log" 2>&1 || true
    apt_updated=yes
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>"$log" 2>&1 ||
    { say "apt-get failed, see $log"; return 1; }
}

pip_install() {
  "$venv/bin/python" -m pip install --quiet --progress-bar off --constraint constraints.txt "$@" \
    >>"$log" 2>&1 || { tail -n 15 "$log" >&2; fail "pip could not install: $* (all of it: $log)"; }
}

make_venv() {
  if [ -x $venv/bin/python ] && is_python $venv/bin/python && $venv/bin/python -m pip --version >/dev/null 2>&1; then
    return
  fi
  local python
  python=$(find_python) || fail "Python 3.11, 3.12 or 3.13 is needed; install one (Debian: apt-get install
  python3 python3-venv) or name one: PYTHON=/path/to/python3.11 make ..."
  say "virtual environment $venv with $("$python" --version) ($python)"
  mkdir -p $venv
  if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    debian "virtual environments" "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv" ||
      fail "this Python has no ensurepip, so no virtual environment can be made"
  fi
  "$python" -m venv $venv >>"$log" 2>&1 || { tail -n 5 "$log" >&2; fail "python -m venv failed"; }
}

# Triton's Python backend runs the models in an interpreter of its own that loads this library.
check_libpython() {
  $venv/bin/python - <<'PY' && return
import ctypes, os, sys, sysconfig
name, folder = sysconfig.get_config_var("INSTSONAME") or "", sysconfig.get_config_var("LIBDIR") or ""
if not name.startswith("libpython") or ".so" not in name:
    name = "libpython%d.%d.so.1.0" % sys.version_info[:2]
for path in (os.path.join(folder, name), name):
    try:
        ctypes.CDLL(path)
        sys.exit(0)
    except OSError:
        pass
sys.exit(1)
PY
  debian "Triton's Python backend" "libpython$($venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" ||
    say "without libpython Triton cannot start; UnitScope's own V2 server serves the generator instead"
}

setup_run() {
  say "Python packages, 1 of 4: torch (by far the largest)"
  pip_install "torch==2.13.0"
  say "Python packages, 2 of 4: torchvision"
  pip_install "torchvision==0.28.0"
  say "Python packages, 3 of 4: services, workers, command"
  pip_install --editable ".[worlds,workers,linker,models]"
  say "Python packages, 4 of 4: Triton Inference Server"
  # Without its dependencies: only its server binary is used, and they would forbid NumPy 2.
  if [ "$(uname -sm)" = "Linux x86_64" ]; then
    pip_install --no-deps "nvidia-pytriton==0.7.0"
    check_libpython
  else
    say "the Triton binary exists for Linux on x86-64 only; UnitScope's own V2 server serves the generator here"
  fi
}

# Tests run brokers of their own: what the packages would start for the whole machine is stopped again.
setup_brokers() {
  local broker wanted=()
  [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || wanted+=(rabbitmq-server)
  command -v redis-server >/dev/null || wanted+=(redis-server)
  [ ${#wanted[@]} -gt 0 ] || return 0
  debian "the brokers that delivery is tested on" "${wanted[@]}" || return 1
  for broker in "${wanted[@]}"; do
    if [ -d /run/systemd/system ]; then
      systemctl disable --quiet --now "$broker" >>"$log" 2>&1 || say "could not stop the service $broker"
    else
      service "$broker" stop >>"$log" 2>&1 || true
    fi
  done
}

setup_test() {
  say "Python packages for tests, linters and benchmarks"
  pip_install --editable ".[worlds,workers,linker,models,signals,packs,bench,dev]"
  local complete=1
  if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
    debian "the browser that the report is tested in" chromium fonts-dejavu-core || complete=0
  fi
  command -v kubectl >/dev/null || debian "rendering the manifests" kubernetes-client || complete=0
  setup_brokers || complete=0
  say "the scanner of manifests, in an environment of its own"
  scripts/scan.sh --set-up >>"$log" 2>&1 || { say "checkov could not be installed, see $log"; complete=0; }
  [ "$(uname -sm)" = "Linux x86_64" ] || complete=0
  # Read by `make test`: only where all is installed does a skipped integration test count as a failure.
  echo $complete >$venv/.test-complete
}

[ ! -x $venv/bin/python ] || [ ! -e "$(stamp "$level")" ] || exit 0
started=$SECONDS
make_venv
: >>"$log"
if [ ! -e "$(stamp run)" ]; then
  setup_run
  touch "$(stamp run)"
fi
if [ "$level" = test ]; then
  setup_test
  touch "$(stamp test)"
fi
say "ready after $((SECONDS - started)) s"
