"""Holds a discovery message against Home Assistant's own schemas. Runs in an environment that has Home Assistant.

    python home_assistant_check.py < message.json

Does to the message what Home Assistant's MQTT integration does: the schema of device discovery, then, for
each component, the device's shared options merged in and the schema of its platform. Templates are compiled by
Home Assistant's own environment on the way. Prints a line for each component; exit status 1 where one is refused.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
import tempfile

import voluptuous
from homeassistant import const
from homeassistant.components.mqtt import discovery, schemas
from homeassistant.core import HomeAssistant
from homeassistant.helpers import frame


async def check(topic: str, payload: dict[str, object]) -> int:
    """Validate the message; how many faults it has."""
    faults = 0
    frame.async_setup(HomeAssistant(tempfile.gettempdir()))  # what compiles templates asks for one
    prefix, _, rest = topic.partition("/")
    match = discovery.TOPIC_MATCHER.fullmatch(rest)
    print(f"Home Assistant {const.__version__}")
    print(f"topic under {prefix}/: {match and match.groups()}")
    faults += match is None or match["component"] != "device"
    schemas.DEVICE_DISCOVERY_SCHEMA(payload)
    schemas.MQTT_ORIGIN_INFO_SCHEMA(payload["origin"])
    print("device discovery schema: valid")
    seen: set[object] = set()
    for key, component in payload["components"].items():
        config = {name: value for name, value in component.items() if name != "platform"}
        config |= {"device": payload["device"], "origin": payload["origin"]}
        for option in schemas.SHARED_OPTIONS:
            if option in payload:
                config.setdefault(option, payload[option])
        platform = importlib.import_module(f"homeassistant.components.mqtt.{component['platform']}")
        try:
            checked = platform.DISCOVERY_SCHEMA(config)
        except voluptuous.Invalid as error:
            print(f"{component['platform']:14} {key}: REFUSED: {error}")
            faults += 1
            continue
        dropped = sorted(set(config) - set(checked))
        faults += bool(dropped) or config["unique_id"] in seen
        seen.add(config["unique_id"])
        note = f"; options that it does not know: {', '.join(dropped)}" if dropped else ""
        print(f"{component['platform']:14} {key}: valid{note}")
    unusable = [unique for unique in seen if not re.fullmatch(r"[A-Za-z0-9_-]+", str(unique))]
    faults += len(unusable)
    print(f"{len(seen)} entities, {faults} faults")
    return faults


message = json.load(sys.stdin)
sys.exit(bool(asyncio.run(check(message["topic"], message["payload"]))))
