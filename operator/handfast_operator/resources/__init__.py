"""Our custom resources as frozen dataclasses, parsed where they arrive."""
