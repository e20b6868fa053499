"""What is wrong with this device: every part looked at once, each finding with what to do about it.

    finding.py        what is found, and what everything is looked at with: frozen records
    examination.py    runs the groups, each within its time limit; a fault of the looking is a finding, too
    runtime.py        Python, the TFLite runtime and its fast kernels, the model and known answers
    trial.py          the model on known cells, in a process of its own: a runtime may crash
    configuration.py  the file, the password, the certificates
    camera.py         one frame of the source, its light and its focus
    broker.py         the broker, step by step: name, TCP, TLS
    login.py          the broker, onwards: login, rights, a message there and back, what the device says
    database.py       whether it is whole, and what waits in it
    machine.py        clock, disk, memory, heat, power
    service.py        what systemd says of the service
    running.py        whether a daemon runs, found without touching it

Looking disturbs nothing: a camera that the service uses is left to it, the database is opened for reading only, the
broker is visited under another client's name. The one thing that is written, a trial file in the state folder, is
deleted at once.
"""

from edge.doctor.examination import GROUPS, examine
from edge.doctor.finding import Finding, Mark, Patient

__all__ = ["GROUPS", "Finding", "Mark", "Patient", "examine"]
