#!/usr/bin/env python3
"""Write docs/openapi.json anew; a test compares it with what the service serves."""

from __future__ import annotations

import json
from pathlib import Path

from vedette.config import Settings
from vedette.server.app import create_app

if __name__ == "__main__":
    document = create_app(Settings()).openapi()
    path = Path(__file__).parent.parent / "docs" / "openapi.json"
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
