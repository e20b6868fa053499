"""Home Assistant's own core and MQTT integration, beside a device that runs: which entities come, and what they show.

    python home_assistant_live.py PORT DEVICE      with a Python that has Home Assistant; a broker at 127.0.0.1:PORT

Waits for the device's entities, prints their states, presses the buttons, and prints what that changed. Exit status
1 where something that should have come did not. No frontend, no recorder, nothing else of Home Assistant runs.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from homeassistant import bootstrap, loader
from homeassistant.config_entries import ConfigEntries, ConfigEntry
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry
from homeassistant.setup import async_setup_component

WAIT_S = 60.0
KINDS = ("binary_sensor", "sensor", "button", "text")


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            print(f"IN VAIN: {what}")
            sys.exit(1)
        await asyncio.sleep(0.2)


async def watch(port: int, device: str) -> None:
    """Start the integration, and use what it finds."""
    folder = Path(tempfile.mkdtemp(prefix="leukoscope-ha-"))
    (folder / "configuration.yaml").touch()
    hass = HomeAssistant(str(folder))
    loader.async_setup(hass)
    hass.config_entries = ConfigEntries(hass, {})
    hass.config.components.add("http")  # a dependency that the integration needs for its dialogues only
    hass.config.components.add("file_upload")
    await bootstrap.async_load_base_functionality(hass)
    assert await async_setup_component(hass, "homeassistant", {})
    entry = ConfigEntry(
        data={"broker": "127.0.0.1", "port": port, "protocol": "5"},
        discovery_keys={},
        domain="mqtt",
        minor_version=2,
        options={},
        source="user",
        subentries_data=(),
        title="broker",
        unique_id=None,
        version=1,
    )
    await hass.config_entries.async_add(entry)
    await hass.async_start()
    registry = entity_registry.async_get(hass)

    def known() -> dict[str, str]:
        """Our entities, by the key in their unique ID."""
        head = f"leukoscope_{device}_"
        return {
            each.unique_id.removeprefix(head): each.entity_id
            for each in registry.entities.values()
            if each.unique_id.startswith(head)
        }

    def state(key: str) -> str:
        found = hass.states.get(known()[key])
        return "nothing" if found is None else found.state

    await until(lambda: len(known()) >= 23, "23 entities")
    await until(lambda: state("accepted") not in ("unknown", "unavailable", "0"), "cells that were counted")
    await until(lambda: state("outbox") not in ("unknown", "unavailable"), "metrics")
    print(f"Home Assistant {__version__}: {len(known())} entities")
    for key, entity in known().items():
        found = hass.states.get(entity)
        unit = "" if found is None else found.attributes.get("unit_of_measurement", "")
        print(f"  {entity:58} {state(key)} {unit}".rstrip())
    await hass.services.async_call("button", "press", {"entity_id": known()["start"]}, blocking=True)
    await until(lambda: state("sample_state") == "open", "a sample that was started by the button")
    print(f"pressed start:  sample {state('sample')} is {state('sample_state')}")
    await hass.services.async_call("button", "press", {"entity_id": known()["finish"]}, blocking=True)
    await until(lambda: state("sample_state") == "finished", "a sample that was finished by the button")
    print(f"pressed finish: sample {state('sample')} is {state('sample_state')}")
    named = {"entity_id": known()["start_as"], "value": "S-2026-017"}
    await hass.services.async_call("text", "set_value", named, blocking=True)
    await until(lambda: state("sample") == "S-2026-017", "a sample that was started by its ID")
    print(f"typed an ID:    sample {state('sample')} is {state('sample_state')}")
    print("stop the device now", flush=True)
    await until(lambda: state("status") == "off", "the device is gone")
    print(f"device stopped: connection {state('status')}, accepted cells {state('accepted')}")
    await hass.async_stop(force=True)


logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
asyncio.run(watch(int(sys.argv[1]), sys.argv[2]))
