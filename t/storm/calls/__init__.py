"""All calls that a schedule may make, by their names."""

import layout

from . import barriers, checking, claims, definitions, dml, figures, keys, machines, messages, purging, sagas, upkeep

MODULES = (keys, claims, barriers, machines, messages, definitions, checking, purging, sagas, dml, upkeep, figures)
CALLS = {call.name: call for module in MODULES for call in module.CALLS}


def schema():
    """SQL that makes what the calls are made on, once."""
    return "\n".join(getattr(module, "SCHEMA", "") for module in MODULES)


def reset():
    """SQL that brings it all back to its beginning."""
    return "\n".join(getattr(module, "RESET", "") for module in MODULES)


def items():
    """The model of that beginning."""
    return {item: value for module in MODULES for item, value in getattr(module, "ITEMS", {}).items()
            if not (item[0] == "history" and layout.routed())}
