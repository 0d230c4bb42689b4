#!/bin/sh
# Makes this checkout ready to run: dependencies installed, and with the argument `redis`, a Redis that can be started.
# Quiet where all is there; safe to run again, and after a Ctrl-C. Called by `npm run demo` and `npm test`.
set -eu
cd "$(dirname "$0")/../.."

# 1. The dependencies. An interrupted `npm ci` leaves no record of what is installed, and is repeated.
if ! node infra/dev/installed.mjs; then
  echo "Installing the dependencies (npm ci) ..."
  npm ci --no-audit --no-fund --loglevel=error
fi

[ "${1:-}" = redis ] || exit 0

# 2. Redis: one that runs already (REDIS_URL), or a server that can be started, or the system's package.
has_redis() {
  [ -n "${REDIS_URL:-}" ] || command -v redis-server >/dev/null 2>&1 || command -v valkey-server >/dev/null 2>&1
}
has_redis && exit 0

if [ "$(id -u)" = 0 ]; then as_root=env
elif sudo -n true 2>/dev/null; then as_root="sudo -n"
else as_root=""
fi

if command -v apt-get >/dev/null 2>&1; then by_hand="sudo apt-get install redis-server"
elif command -v dnf >/dev/null 2>&1; then by_hand="sudo dnf install redis"
elif command -v apk >/dev/null 2>&1; then by_hand="sudo apk add redis"
elif command -v brew >/dev/null 2>&1; then by_hand="brew install redis"
else by_hand="install redis-server or valkey-server"
fi

# The package must not start a service of its own: policy-rc.d answers 101 ("forbidden") while it is unpacked, and it isn't left enabled.
install_with_apt='
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap "rm -f $policy" EXIT
    trap "exit 130" INT TERM HUP
    printf "#!/bin/sh\nexit 101\n" > "$policy" && chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update && apt-get -qq install -y --no-install-recommends redis-server || exit 1
  if [ -d /run/systemd/system ]; then systemctl -q disable redis-server || true; fi
'

if [ -n "$as_root" ]; then
  echo "Installing Redis from the system's packages ..."
  log=$(mktemp)
  case "$by_hand" in
    *apt-get*) $as_root sh -c "$install_with_apt" >"$log" 2>&1 || true ;;
    *dnf*) $as_root dnf -q install -y redis >"$log" 2>&1 || $as_root dnf -q install -y valkey >>"$log" 2>&1 || true ;;
    *apk*) $as_root apk add -q redis >"$log" 2>&1 || $as_root apk add -q valkey >>"$log" 2>&1 || true ;;
  esac
  has_redis || tail -n 5 "$log" >&2
  rm -f "$log"
fi

has_redis || {
  echo "Redis is needed: type \`$by_hand\`, or set REDIS_URL to one that runs." >&2
  exit 1
}
