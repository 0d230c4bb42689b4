#!/usr/bin/env bash
# What the checks use beside npm's packages: prometheus with promtool, compose-config and kustomize for infra/ and k8s/; for the model on WebGPU, Vulkan in software.
# Says one line each; runs twice without harm; what can't be had here is named, and the tests that need it say that they are skipped.
set -uo pipefail
compose_go_version=v2.16.2
kustomize_version=v5.8.3

export PATH="$PATH:/usr/local/go/bin"
command -v go >/dev/null && export PATH="$PATH:$(go env GOPATH)/bin"

install_prometheus() {
  if command -v promtool >/dev/null && command -v prometheus >/dev/null; then
    echo "prometheus: $(command -v prometheus)"
  elif ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "prometheus: not here; install it with: apt-get install --no-install-recommends prometheus"
  else
    local log
    log=$(mktemp)
    # The package's service isn't wanted, only its programs: RUNLEVEL=1 keeps it from starting.
    if apt-get update -q >"$log" 2>&1 && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends prometheus >>"$log" 2>&1; then
      echo "prometheus: installed, $(command -v prometheus)"
    else
      echo "prometheus: could not be installed: $(tail -n 1 "$log")"
    fi
    rm -f "$log"
  fi
}

# The driver of Debian 12 itself (Mesa 22.3) is refused by WebGPU; its backports have one that is taken. Their address is that of the sources that are here.
backports_source() {
  if [ -f /etc/apt/sources.list.d/debian.sources ]; then
    # Stanzas are parted by empty lines; those of security updates have no backports.
    awk -v RS= -v ORS='\n\n' '!/-security/' /etc/apt/sources.list.d/debian.sources | sed 's/^Suites:.*/Suites: bookworm-backports/' >/etc/apt/sources.list.d/bookworm-backports.sources
  else
    sed -nE 's/^(deb( +\[[^]]*\])? +[^ ]+ +)bookworm( .*)$/\1bookworm-backports\3/p' /etc/apt/sources.list >/etc/apt/sources.list.d/bookworm-backports.list
  fi
}

install_vulkan() {
  local log version
  if ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' && ls /usr/share/vulkan/icd.d/*.json >/dev/null 2>&1 && ! dpkg-query -W mesa-vulkan-drivers 2>/dev/null | grep -q '[[:space:]]22\.'; then
    echo "vulkan: a driver is here"
    return
  fi
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "vulkan: not here; the model's tests on WebGPU are skipped. Install libvulkan1 and mesa-vulkan-drivers (Debian 12: from bookworm-backports)"
    return
  fi
  log=$(mktemp)
  version=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  if {
    [ "$version" != bookworm ] || backports_source
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends libvulkan1
    # shellcheck disable=SC2046 # two words, or none
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $([ "$version" != bookworm ] || echo "-t bookworm-backports") mesa-vulkan-drivers
  } >"$log" 2>&1; then
    echo "vulkan: installed Mesa's driver in software"
  else
    echo "vulkan: could not be installed, the model's tests on WebGPU are skipped: $(tail -n 1 "$log")"
  fi
  rm -f "$log"
}

go_install() { # go_install <name> <module/command> <version>: builds into $GOPATH/bin under that name
  local name=$1 command=$2 version=$3 folder target
  if command -v "$name" >/dev/null; then
    echo "$name: $(command -v "$name")"
    return
  fi
  if ! command -v go >/dev/null; then
    echo "$name: not here, and no Go to build it with: go install $command@$version"
    return
  fi
  folder=$(mktemp -d)
  target="$(go env GOPATH)/bin"
  if GOBIN="$folder/bin" go install "$command@$version" >"$folder/log" 2>&1; then
    mkdir -p "$target" && mv "$folder"/bin/* "$target/$name"
    echo "$name: built $version, $target/$name"
  else
    echo "$name: could not be built: $(tail -n 1 "$folder/log")"
  fi
  rm -rf "$folder"
}

install_kustomize() {
  if ! command -v kustomize >/dev/null && kubectl kustomize --help >/dev/null 2>&1; then
    echo "kustomize: kubectl brings it, $(command -v kubectl)"
  else
    go_install kustomize sigs.k8s.io/kustomize/kustomize/v5 "$kustomize_version"
  fi
}

install_prometheus
go_install compose-config github.com/compose-spec/compose-go/v2/cmd "$compose_go_version"
install_kustomize
install_vulkan
