"""A sample's report as FHIR R4 (4.0.1): a transaction that creates or, sent again, updates the same resources.

A DiagnosticReport, an Observation for each class, the Specimen and the Device. Its status is `preliminary` until a
person has signed, then `final`; `amended` where it was signed, the signature withdrawn, and it was signed anew.

LOINC: the panel and percentages *without* a method. "Automated count" (770-8 and its like) is what a haematology
analyser counts in a flow cell, by the thousand; "manual count" is a person's. This is neither, and under either
code it would pass for the other's result. LOINC's own manual differential panel (24318-8) lists these codes.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Final
from urllib.parse import quote

from edge import __version__
from edge.differential import Share
from edge.report.document import INTENDED_USE
from edge.report.sample import SampleReport
from edge.report.sample_page import named
from edge.wire.cellrecord import utc_text

LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
TERMS: Final = "http://terminology.hl7.org/CodeSystem"

PANEL: Final = ("69738-3", "Differential panel, method unspecified - Blood")
PERCENTAGES: Final = {
    "neutrophil": ("26511-6", "Neutrophils/100 leukocytes in Blood"),
    "eosinophil": ("26450-7", "Eosinophils/100 leukocytes in Blood"),
    "basophil": ("30180-4", "Basophils/100 leukocytes in Blood"),
    "lymphocyte": ("26478-8", "Lymphocytes/100 leukocytes in Blood"),
    "monocyte": ("26485-3", "Monocytes/100 leukocytes in Blood"),
}
METHOD: Final = (
    "Image analysis of a stained smear under the microscope; flagged cells are decided by a person"
)

# Names the resources of a device's sample for ever; a random number, drawn once.
_NAMESPACE: Final = uuid.UUID("a4cf98c9-fcb6-42d7-8c4f-b45b000b3934")

Resource = dict[str, Any]


def fhir_text(report: SampleReport) -> str:
    """The transaction as JSON."""
    return json.dumps(transaction(report), indent=1, ensure_ascii=False) + "\n"


def transaction(report: SampleReport) -> Resource:
    """The Bundle: `PUT` by identifier, so that a repetition updates what is there and doubles nothing."""
    device = _resource(report, "Device", report.device)
    specimen = _resource(report, "Specimen", report.sample.id)
    refer = {"specimen": {"reference": _address(specimen)}, "device": {"reference": _address(device)}}
    device |= {
        "deviceName": [{"name": report.device, "type": "user-friendly-name"}],
        "type": {"text": "Microscope camera with automated white cell differential"},
        "version": [
            {"type": {"text": "leukoscope"}, "value": __version__},
            *({"type": {"text": f"model {m.name}, SHA-256"}, "value": m.sha256} for m in report.models),
        ],
    }
    specimen |= {
        "accessionIdentifier": {"value": report.sample.id},
        "type": {"text": "Stained smear of peripheral blood"},
    }
    observations = [_observation(report, share, refer) for share in report.result.shares]
    summary = _resource(report, "DiagnosticReport", report.sample.id) | {
        "status": report.status,
        "category": [{"coding": [_coding(f"{TERMS}/v2-0074", "HM", "Hematology")]}],
        "code": {"coding": [_coding(LOINC, *PANEL)], "text": "White cell differential"},
        "effectivePeriod": _period(report),
        "issued": utc_text(report.made_at),
        "specimen": [refer["specimen"]],
        "result": [{"reference": _address(observation)} for observation in observations],
        "conclusion": _conclusion(report),
    }
    if report.sample.operator:
        summary["performer"] = [{"display": report.sample.operator}]
    if report.sample.signed_by:
        summary["resultsInterpreter"] = [{"display": report.sample.signed_by}]
    entries = [
        {
            "fullUrl": _address(resource),
            "resource": resource,
            "request": {"method": "PUT", "url": _search(resource)},
        }
        for resource in (summary, *observations, specimen, device)
    ]
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "timestamp": utc_text(report.made_at),
        "entry": entries,
    }


def _observation(report: SampleReport, share: Share, refer: Resource) -> Resource:
    code: Resource = {"text": f"{named(share.cell_class)}, percent of leukocytes"}
    if share.cell_class in PERCENTAGES:
        code["coding"] = [_coding(LOINC, *PERCENTAGES[share.cell_class])]
    observation = _resource(report, "Observation", f"{report.sample.id}/{share.cell_class}") | {
        "status": report.status,
        "category": [{"coding": [_coding(f"{TERMS}/observation-category", "laboratory", "Laboratory")]}],
        "code": code,
        "effectivePeriod": _period(report),
        "issued": utc_text(report.made_at),
        "method": {"text": METHOD},
        **refer,
    }
    if share.percent is None:
        reason = _coding(f"{TERMS}/data-absent-reason", "not-performed", "Not Performed")
        return observation | {"dataAbsentReason": {"coding": [reason], "text": "no cell was counted"}}
    return observation | {
        "valueQuantity": _percent(share.percent),
        "component": [
            _component("cells of this class", {"value": share.count, "unit": "cells"}),
            _component("cells counted", {"value": report.result.accepted, "unit": "cells"}),
            _component("lower 95 % confidence limit", _percent(share.limits.low)),
            _component("upper 95 % confidence limit", _percent(share.limits.high)),
            _component("lower 95 % limit for all classes at once", _percent(share.simultaneous.low)),
            _component("upper 95 % limit for all classes at once", _percent(share.simultaneous.high)),
        ],
    }


def _conclusion(report: SampleReport) -> str:
    result = report.result
    waiting = f"Flagged cells that wait for a person: {result.flagged}. " if result.flagged else ""
    return f"Cells counted: {result.accepted}. {waiting}{INTENDED_USE}"


def _resource(report: SampleReport, kind: str, value: str) -> Resource:
    system = f"urn:uuid:{uuid.uuid5(_NAMESPACE, report.device)}"
    return {"resourceType": kind, "identifier": [{"system": system, "value": value}]}


def _address(resource: Resource) -> str:
    identifier = resource["identifier"][0]
    name = f"{resource['resourceType']} {identifier['system']} {identifier['value']}"
    return f"urn:uuid:{uuid.uuid5(_NAMESPACE, name)}"


def _search(resource: Resource) -> str:
    identifier = resource["identifier"][0]
    return f"{resource['resourceType']}?identifier=" + quote(
        f"{identifier['system']}|{identifier['value']}", safe=""
    )


def _coding(system: str, code: str, display: str) -> Resource:
    return {"system": system, "code": code, "display": display}


def _percent(value: float) -> Resource:
    return {"value": round(value, 2), "unit": "%", "system": UCUM, "code": "%"}


def _component(name: str, value: Resource) -> Resource:
    return {"code": {"text": name}, "valueQuantity": value}


def _period(report: SampleReport) -> Resource:
    return {"start": utc_text(report.first_at), "end": utc_text(report.last_at)}
