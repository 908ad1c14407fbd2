#!/usr/bin/env python3
"""Start the service: the same as `vedette serve`, for those who know it by this name.

python scripts/start_async_waf_service.py --port 9000 --workers 2
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vedette.server.run import start


def main() -> int:
    """Read the flags, which beat environment, files and defaults; serve; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="TCP port; 0 takes a free one")
    parser.add_argument("--workers", type=int, help="service processes")
    parser.add_argument("--model", help="bundle directory, .onnx or .pt checkpoint")
    parser.add_argument("--config", type=Path, help="file with the section waf_service")
    parser.add_argument("--inference-config", type=Path, help="file with the section inference")
    given = parser.parse_args()
    flags = {
        "waf_service.host": given.host,
        "waf_service.port": given.port,
        "waf_service.workers": given.workers,
        "waf_service.model_path": given.model,
    }
    return start(config=given.config, inference_config=given.inference_config, flags=flags)


if __name__ == "__main__":
    sys.exit(main())
