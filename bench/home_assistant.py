"""Holds a running device against Home Assistant itself. Prints what came of it; see home_assistant.txt.

    python bench/home_assistant.py PYTHON      a Python in which `pip install homeassistant paho-mqtt==2.1.0` was done

First the description against Home Assistant's schemas, then Home Assistant's core with its MQTT integration beside
a daemon on a virtual slide and a private broker.
"""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from edge.config import Settings
from edge.daemon import Daemon
from edge.mqtt.broker import PrivateBroker
from edge.mqtt.discovery import discovery_message

HERE = Path(__file__).parent
python = sys.argv[1]

with tempfile.TemporaryDirectory() as folder, PrivateBroker() as broker:
    told = {
        "device": {"name": "bench-1"},
        "source": {"kind": "virtual_slide", "cells": 100_000, "interval_s": 0.3},
        "mqtt": {"host": broker.host, "port": broker.port},
        "store": {"path": f"{folder}/db.sqlite"},
    }
    daemon = Daemon.of(Settings.model_validate(told))
    message = discovery_message(
        prefix="homeassistant",
        root="leukoscope/bench-1/",
        device="bench-1",
        version="0.1.0",
        model=daemon.model.name,
        classes=daemon.classes,
    )
    payload = {"topic": message.topic, "payload": json.loads(message.payload)}
    subprocess.run(
        [python, HERE / "home_assistant_check.py"], input=json.dumps(payload), text=True, check=True
    )
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        watching = subprocess.Popen(
            [python, HERE / "home_assistant_live.py", str(broker.port), "bench-1"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        for line in watching.stdout:
            print(line, end="", flush=True)
            if line.startswith("stop the device"):
                daemon.stop()
    finally:
        daemon.stop()
        thread.join()
    sys.exit(watching.wait())
