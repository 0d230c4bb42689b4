#!/bin/sh
# A real S3 server for the integration tests: versitygw, at this version, built by Go where there is Go. Prints where it lies.
# Without Go it says so in one line: those tests then run against the development server alone.
set -eu
version=v1.8.0

if command -v go >/dev/null 2>&1; then go=go
elif [ -x /usr/local/go/bin/go ]; then go=/usr/local/go/bin/go
else
  echo "versitygw: no Go here, so the S3 tests run against the development server alone"
  exit 0
fi

binary="$("$go" env GOPATH)/bin/versitygw"
if [ ! -x "$binary" ] || ! "$go" version -m "$binary" | grep -q "versitygw[[:space:]]$version"; then
  "$go" install "github.com/versity/versitygw/cmd/versitygw@$version" 2>&1 | grep -v '^go: downloading' >&2 || true
fi
[ -x "$binary" ] || { echo "versitygw: go install failed" >&2; exit 1; }
echo "$binary"
