"""From scores to an action: the one place where mode, fail mode, partial reading and threshold are decided.

    anomaly found                 block mode: block      monitor mode: monitor
    no verdict (late, failed)     fail_mode open: allow  closed: block (monitor mode: monitor)
    partly read, nothing found    on_partial allow       block (monitor mode: monitor)
      ... because time ran out    allow if on_partial allows and fail_mode is open
    read whole, nothing found     allow

Monitor mode never blocks, whatever else is set: who watches first must be able to rely on that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vedette.config import WafServiceSettings
from vedette.verdict import PROBE, Action, Degraded


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done with a score. `threshold` lies in 0..1; a score that reaches it is an anomaly."""

    threshold: float
    mode: Literal["block", "monitor"] = "block"
    fail_mode: Literal["open", "closed"] = "open"
    on_partial: Literal["allow", "block"] = "allow"

    @classmethod
    def from_settings(cls, settings: WafServiceSettings, *, threshold: float) -> Policy:
        """Build from the service's settings and the threshold that its calibration gave."""
        return cls(threshold, settings.mode, settings.fail_mode, settings.on_partial)

    def is_attack(self, score: float, attack_class: str) -> bool:
        """Whether one field with this score is reported as an attack."""
        return score >= self.threshold and attack_class != PROBE

    def action(self, *, is_anomaly: bool | None, degraded: Degraded | None, late: bool = False) -> Action:
        """Return what to do. `is_anomaly` None means that no verdict could be reached; `late` that time ran out."""
        if is_anomaly is None:
            refuse = self.fail_mode == "closed"
        elif is_anomaly:
            refuse = True
        else:
            cautious = self.on_partial == "block" or (late and self.fail_mode == "closed")
            refuse = degraded is Degraded.PARTIALLY_INSPECTED and cautious
        if not refuse:
            return Action.ALLOW
        return Action.MONITOR if self.mode == "monitor" else Action.BLOCK
