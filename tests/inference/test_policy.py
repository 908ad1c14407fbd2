"""Every combination of setting and outcome has one action."""

from __future__ import annotations

from typing import Literal

import pytest

from vedette.config import WafServiceSettings
from vedette.inference.policy import Policy
from vedette.verdict import Action, Degraded

PARTIAL, LATE, FAILED = Degraded.PARTIALLY_INSPECTED, Degraded.TIMED_OUT, Degraded.MODEL_FAILED


@pytest.mark.parametrize(
    ("mode", "fail_mode", "on_partial", "is_anomaly", "degraded", "action"),
    [
        ("block", "open", "allow", True, None, "block"),
        ("monitor", "open", "allow", True, None, "monitor"),
        ("block", "closed", "block", False, None, "allow"),
        ("block", "open", "allow", None, LATE, "allow"),
        ("block", "closed", "allow", None, LATE, "block"),
        ("block", "closed", "allow", None, FAILED, "block"),
        ("monitor", "closed", "allow", None, FAILED, "monitor"),
        ("block", "open", "allow", False, PARTIAL, "allow"),
        ("block", "open", "block", False, PARTIAL, "block"),
        ("monitor", "open", "block", False, PARTIAL, "monitor"),
        ("block", "open", "allow", True, PARTIAL, "block"),
    ],
)
def test_actions(
    mode: Literal["block", "monitor"],
    fail_mode: Literal["open", "closed"],
    on_partial: Literal["allow", "block"],
    is_anomaly: bool | None,
    degraded: Degraded | None,
    action: str,
) -> None:
    policy = Policy(0.5, mode, fail_mode, on_partial)
    assert policy.action(is_anomaly=is_anomaly, degraded=degraded) is Action(action)


def test_a_read_cut_by_the_deadline_follows_fail_mode_too() -> None:
    closed = Policy(0.5, fail_mode="closed")
    assert closed.action(is_anomaly=False, degraded=PARTIAL, late=True) is Action.BLOCK
    assert Policy(0.5).action(is_anomaly=False, degraded=PARTIAL, late=True) is Action.ALLOW


def test_a_probe_alone_is_no_attack() -> None:
    policy = Policy(0.5)
    assert policy.is_attack(0.5, "sqli")
    assert not policy.is_attack(0.4999, "sqli")
    assert not policy.is_attack(1.0, "probe")


def test_from_settings() -> None:
    settings = WafServiceSettings(mode="monitor", fail_mode="closed", on_partial="block")
    assert Policy.from_settings(settings, threshold=0.3) == Policy(0.3, "monitor", "closed", "block")
