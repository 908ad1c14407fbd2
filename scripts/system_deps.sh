#!/usr/bin/env bash
# Installs the Debian packages that `make test-system` needs, with --bench those of `make bench` alone; does nothing
# where none is missing.
set -euo pipefail

bench=(wrk nginx-light libnginx-mod-http-modsecurity modsecurity-crs)
packages=(nginx-light apache2-bin curl redis-server "${bench[@]}") # grows with the integrations: haproxy, ...
if [[ ${1-} == --bench ]]; then packages=("${bench[@]}"); fi

missing=()
for package in "${packages[@]}"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    echo "system-deps: nothing to install."
    exit 0
fi
echo "system-deps: installing ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
