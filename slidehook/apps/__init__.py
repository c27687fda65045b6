"""The analyses that ship with slidehook, one module each."""
