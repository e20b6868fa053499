"""What Home Assistant needs to show a device without being configured: one retained message on its own topic.

Pure. The entities read the device's ordinary messages; nothing is published for Home Assistant alone but this
description (https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload). An entity keeps its
`unique_id` for ever: the key below is part of it, and is never given to something else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from edge.wire.messages import Message

Entity = dict[str, object]

METRICS_OLD_S: Final = 60
"""After so long without metrics what they said is shown as unavailable."""

OPERATOR: Final = "Home Assistant"

PROBLEMS: Final[Mapping[str, tuple[str, str]]] = {
    "camera": ("Camera problem", "camera"),
    "broker": ("Broker problem", "broker|outbox"),
    "storage": ("Storage problem", "storage|database"),
    "power": ("Held back (power or heat)", "throttled"),
    "clock": ("Clock problem", "clock"),
}
"""An entity's key: its name, and with what the codes of `edge.health.problems` begin that it stands for."""


def topic(prefix: str, device: str) -> str:
    """Where the description goes.

    Args:
        prefix: Home Assistant's discovery prefix.
        device: the device's name.
    """
    return f"{prefix}/device/{device}/config"


def birth_topic(prefix: str) -> str:
    """Where Home Assistant says ``online``, and wants descriptions again."""
    return f"{prefix}/status"


def discovery_message(
    *, prefix: str, root: str, device: str, version: str, model: str, classes: Sequence[str]
) -> Message:
    """The description of a device.

    Args:
        prefix: Home Assistant's discovery prefix.
        root: what the device's own topics begin with, ``leukoscope/bench-1/``.
        device: its name.
        version: of leukoscope.
        model: the name of its model.
        classes: of the model, in the order in which they are listed.
    """
    entities = {**_state(root), **_sample(root, classes), **_machine(root), **_buttons(root)}
    payload = {
        "device": {
            "identifiers": [f"leukoscope_{device}"],
            "name": device,
            "manufacturer": "leukoscope",
            "model": "White blood cell differential",
            "model_id": model,
            "sw_version": version,
        },
        "origin": {"name": "leukoscope", "sw_version": version},
        # For all entities but those that say otherwise.
        "availability": [{"topic": f"{root}status", "value_template": "{{ value_json.state }}"}],
        "components": {
            key: {"unique_id": f"leukoscope_{device}_{key}", "qos": 1, **entity}
            for key, entity in entities.items()
        },
    }
    return Message(
        topic(prefix, device), json.dumps(payload, ensure_ascii=False), retain=True, elsewhere=True
    )


def _state(root: str) -> dict[str, Entity]:
    """Whether the device is there and well; these are read from ``status``."""
    found = "value_json.problems | default([])"
    status: Entity = {
        "platform": "binary_sensor",
        "state_topic": f"{root}status",
        "entity_category": "diagnostic",
    }
    entities: dict[str, Entity] = {
        "status": {
            **status,
            "name": "Connection",
            "device_class": "connectivity",
            "value_template": "{{ 'ON' if value_json.state == 'online' else 'OFF' }}",
            "availability": [],  # it must say "off", not be unavailable
        },
        "problem": {
            **status,
            "name": "Problem",
            "device_class": "problem",
            "value_template": f"{{{{ 'ON' if {found} else 'OFF' }}}}",
            "json_attributes_topic": f"{root}status",
            "json_attributes_template": f"{{{{ {{'problems': {found} | map(attribute='text') | list}} | tojson }}}}",
        },
    }
    for key, (name, codes) in PROBLEMS.items():
        starts = " or ".join(f"code.startswith('{code}')" for code in codes.split("|"))
        entities[f"problem_{key}"] = {
            **status,
            "name": name,
            "device_class": "problem",
            "value_template": (
                f"{{% set found = namespace(any=false) %}}{{% for code in {found} | map(attribute='code') %}}"
                f"{{% if {starts} %}}{{% set found.any = true %}}{{% endif %}}{{% endfor %}}"
                "{{ 'ON' if found.any else 'OFF' }}"
            ),
        }
    return entities


def _sample(root: str, classes: Sequence[str]) -> dict[str, Entity]:
    """The sample that is counted; read from ``sample``, which is retained."""
    sample: Entity = {"platform": "sensor", "state_topic": f"{root}sample"}
    number: Entity = {**sample, "state_class": "measurement"}
    percent: Entity = {**number, "unit_of_measurement": "%"}
    entities: dict[str, Entity] = {
        "sample": {
            **sample,
            "name": "Sample",
            "icon": "mdi:test-tube",
            "value_template": "{{ value_json.sample }}",
            "json_attributes_topic": f"{root}sample",
            "json_attributes_template": (
                "{{ {'operator': value_json.operator, 'started_at': value_json.started_at, "
                "'target': value_json.target, 'limits': value_json.limits} | tojson }}"
            ),
        },
        "sample_state": {
            **sample,
            "name": "Sample state",
            "icon": "mdi:progress-question",
            "device_class": "enum",
            "options": ["none", "open", "finished"],
            "value_template": "{{ value_json.state if value_json.named else 'none' }}",
        },
        "progress": {
            **percent,
            "name": "Sample progress",
            "icon": "mdi:progress-check",
            "value_template": "{{ [100, (100 * value_json.accepted / value_json.target) | int] | min }}",
        },
        "accepted": {
            **number,
            "name": "Accepted cells",
            "icon": "mdi:check",
            "unit_of_measurement": "cells",
            "value_template": "{{ value_json.accepted }}",
        },
        "flagged": {
            **number,
            "name": "Flagged cells",
            "icon": "mdi:flag",
            "unit_of_measurement": "cells",
            "value_template": "{{ value_json.flagged }}",
        },
    }
    for name in classes:
        # A class without a percentage is null; Home Assistant reads "None" as unknown.
        entities[f"percent_{name}"] = {
            **percent,
            "name": name.replace("_", " ").capitalize(),
            "icon": "mdi:chart-donut",
            "suggested_display_precision": 1,
            "value_template": f"{{{{ value_json.percentages.get({_quoted(name)}) }}}}",
        }
    return entities


def _machine(root: str) -> dict[str, Entity]:
    """The machine; read from ``metrics``, which are not retained."""
    metrics: Entity = {
        "platform": "sensor",
        "state_topic": f"{root}metrics",
        "state_class": "measurement",
        "entity_category": "diagnostic",
        "expire_after": METRICS_OLD_S,
    }
    return {
        "temperature": {
            **metrics,
            "name": "Temperature",
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "value_template": "{{ value_json.temperature_c }}",
        },
        "outbox": {
            **metrics,
            "name": "Messages waiting",
            "icon": "mdi:tray-full",
            "unit_of_measurement": "messages",
            "value_template": "{{ value_json.outbox }}",
        },
        "frame_rate": {
            **metrics,
            "name": "Frame rate",
            "icon": "mdi:speedometer",
            "unit_of_measurement": "frames/s",
            "value_template": "{{ value_json.frames_per_s }}",
        },
    }


def _buttons(root: str) -> dict[str, Entity]:
    """What a person may ask for; the answers come under ``reply/``, and show in ``sample``."""
    # A sample needs an ID, and a button has none to give: Home Assistant makes one of its date and time.
    now = "now().strftime('%Y%m%d-%H%M%S')"
    return {
        "start": {
            "platform": "button",
            "name": "Start sample",
            "icon": "mdi:play",
            "command_topic": f"{root}command/sample/start",
            "command_template": f"{{{{ {{'sample': {now}, 'operator': {_quoted(OPERATOR)}}} | tojson }}}}",
        },
        "finish": {
            "platform": "button",
            "name": "Finish sample",
            "icon": "mdi:stop",
            "command_topic": f"{root}command/sample/finish",
            "payload_press": json.dumps({"operator": OPERATOR}),
        },
        "start_as": {
            "platform": "text",
            "name": "Start sample with ID",
            "icon": "mdi:barcode",
            "min": 1,
            "max": 64,
            "pattern": "[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
            "command_topic": f"{root}command/sample/start",
            "command_template": f"{{{{ {{'sample': value, 'operator': {_quoted(OPERATOR)}}} | tojson }}}}",
            "state_topic": f"{root}sample",
            "value_template": "{{ value_json.sample }}",
        },
    }


def _quoted(text: str) -> str:
    """A text as a string of a template: JSON's strings are strings there too."""
    return json.dumps(text)
