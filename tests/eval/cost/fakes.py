"""Methods and points that are not measured."""

import torch

from eval.cost.ratios import BASE
from eval.cost.sweep import CostPoint, Limits, Method

CPU = torch.device("cpu")

NO_LIMITS = Limits(repeats=1)


def fake_method(call=lambda side: lambda: side, **changes):
    facts = {"name": "fake", "parameters": 3, "prepare": call, "encode_image": lambda: None}
    rest = {"encoder_parameters": 1, "encoder_included": False, "note": ""}
    return Method(**{**facts, **rest, **changes})


REN_FACTS = fake_method(name=BASE, parameters=20, encoder_parameters=30)

SAM_FACTS = fake_method(name="SAM", parameters=200, encoder_parameters=90, encoder_included=True)


def measured_point(name, side, seconds):
    found = {"status": "measured", "seconds": seconds, "peak_mib": 1.0, "calls": 1}
    return CostPoint(method=name, per_side=side, **found)
