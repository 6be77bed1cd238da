#!/usr/bin/env bash
# Installs the Debian 12 packages that Skipstone needs and that are missing; needs no network when
# none is. Usage: scripts/install_deps.sh [build|runtime|test]
#   build    what compiles the programs (default)
#   test     build, and what the tests and `make format` use
#   runtime  the shared libraries of the built programs, without compilers
set -euo pipefail

BUILD=(
  g++ cmake ninja-build pkg-config ccache
  libgrpc++-dev protobuf-compiler-grpc protobuf-compiler libprotobuf-dev libabsl-dev
  libspdlog-dev prometheus-cpp-dev libmicrohttpd-dev libsentencepiece-dev libyaml-cpp-dev nlohmann-json3-dev
  libhwy-dev libeigen3-dev libcurl4-openssl-dev libssl-dev zlib1g-dev
)
TEST=(
  libgtest-dev libgmock-dev libbenchmark-dev clang-format
  python3 python3-grpcio python3-numpy python3-pip python3-protobuf python3-yaml prometheus
)
RUNTIME=(
  libgrpc++1.51 libgrpc29 libprotobuf32 libabsl20220623
  libspdlog1.10 libfmt9 libprometheus-cpp-core1.0 libmicrohttpd12
  libsentencepiece0 libyaml-cpp0.7 libhwy1 libcurl4 libssl3 zlib1g
)

die() {
  echo "install_deps.sh: $*" >&2
  exit 1
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "must run as root, or sudo must be installed: $*"
  fi
}

# Prints those of the given packages that are not installed.
missing_packages() {
  local states package
  # Exits 1 where it does not know one of them, which is an answer and no failure.
  states=$(dpkg-query -W -f '${Package}=${db:Status-Status}\n' "$@" 2>/dev/null || true)
  for package in "$@"; do
    grep -qxF "$package=installed" <<<"$states" || echo "$package"
  done
}

# Some packages bring a daemon (prometheus). Nothing here wants one running: for the time of the
# installation a policy forbids starting services, unless the machine has a policy of its own.
POLICY=${SKIPSTONE_POLICY_RC_D:-/usr/sbin/policy-rc.d}  # the variable is for the test
forbid_daemons() {
  [[ ! -e $POLICY ]] || return 0
  trap 'as_root rm -f "$POLICY"' EXIT
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
  as_root chmod 755 "$POLICY"
}

main() {
  local -a wanted
  case "${1:-build}" in
    build) wanted=("${BUILD[@]}") ;;
    test) wanted=("${BUILD[@]}" "${TEST[@]}") ;;
    runtime) wanted=("${RUNTIME[@]}") ;;
    *) die "unknown set \"$1\"; usage: install_deps.sh [build|runtime|test]" ;;
  esac
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    die "needs Debian 12 (no dpkg-query or apt-get here); install the equivalents of: ${wanted[*]}"
  fi

  local -a missing
  mapfile -t missing < <(missing_packages "${wanted[@]}")
  if [[ ${#missing[@]} == 0 ]]; then
    return 0
  fi
  local os
  # shellcheck source=/dev/null
  os=$(. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-}")
  if [[ $os != "debian 12" ]]; then
    echo "install_deps.sh: made for Debian 12, this is $os; versions may not fit" >&2
  fi

  echo "install_deps.sh: installing ${missing[*]}"
  forbid_daemons
  # A fresh machine may still be updating itself: wait for its lock instead of failing.
  local -a apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
  as_root "${apt[@]}" update
  as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}

main "$@"
