#!/usr/bin/env bash
# Installs the Debian packages that `make bench` needs: wrk sends the requests; nginx with ModSecurity and the Core Rule
# Set is what versus_crs compares with. Does nothing where none is missing.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/system_deps.sh" --bench
