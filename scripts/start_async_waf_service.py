#!/usr/bin/env python3
"""Start the service: `vedette serve` under the name that some know it by, with the same flags.

python scripts/start_async_waf_service.py --port 9000 --workers 2
"""

from __future__ import annotations

import sys

from vedette.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "serve")
    main()
