"""What the Helm chart installs, rendered for the lab by `make lab-chart`: there is no Helm on a fresh machine."""

from pathlib import Path
from typing import Final

HANDFAST: Final = Path(__file__).with_name("handfast.yaml")
