"""Looks at the artifact of the build job, and at the service beside this one."""

import json
import urllib.request

from report import report


def test_the_artifact_is_what_the_build_job_made():
    with open("report.json") as file:
        assert json.load(file) == report("prices.csv") == {"items": 3, "value": 209.0}


def test_the_service_answers_under_its_alias():
    with urllib.request.urlopen("http://shop:8000/debian_version") as answer:
        assert answer.status == 200
