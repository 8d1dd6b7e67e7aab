"""The files in dapr/: each parses, and agrees with settings, contract and neighbours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from websocketmanager.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent
DAPR = ROOT / "dapr"
RESOURCES = sorted(path for path in DAPR.rglob("*.yaml") if path.name != "dapr.yaml")

PORTS = ("appPort", "daprGRPCPort", "daprInternalGRPCPort")
#: What the Dapr CLI reads in a run file; it ignores other keys without a word.
RUN_KEYS = {"appID", "appDirPath", "appProtocol", *PORTS, "command", "env"}


def load(name: str) -> Any:
    return yaml.safe_load((DAPR / name).read_text())


def default(name: str) -> Any:
    return Settings.model_fields[name].default


def metadata(component: Any) -> dict[str, str]:
    return {each["name"]: each["value"] for each in component["spec"]["metadata"]}


def methods(proto: str) -> set[str]:
    """The full names of all RPCs in one of our proto files."""
    text = (ROOT / "protos" / proto).read_text()
    (package,) = re.findall(r"^package (\w+);", text, re.MULTILINE)
    found = set()
    service = ""
    for line in text.splitlines():
        if named := re.match(r"service (\w+)", line):
            service = named[1]
        elif rpc := re.match(r"\s+rpc (\w+)\(", line):
            found.add(f"/{package}.{service}/{rpc[1]}")
    return found


def allowed(caller: str) -> set[str]:
    (policy,) = (
        each
        for each in load("configuration.yaml")["spec"]["accessControl"]["policies"]
        if each["appId"] == caller
    )
    assert policy["defaultAction"] == "deny"
    return {each["name"] for each in policy["operations"] if each["action"] == "allow"}


@pytest.fixture
def apps() -> dict[str, Any]:
    return {app["appID"]: app for app in load("dapr.yaml")["apps"]}


def test_there_are_both_components_and_both_configurations() -> None:
    names = {str(path.relative_to(DAPR)) for path in RESOURCES}
    assert names == {
        "components/pubsub.yaml",
        "components/state.yaml",
        "configuration.local.yaml",
        "configuration.yaml",
    }


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.name)
def test_every_resource_is_named_and_typed(path: Path) -> None:
    resource = yaml.safe_load(path.read_text())
    assert resource["apiVersion"] == "dapr.io/v1alpha1"
    kind = "Component" if path.parent.name == "components" else "Configuration"
    assert resource["kind"] == kind
    assert re.fullmatch(r"[a-z][a-z-]*", resource["metadata"]["name"])
    if resource["kind"] == "Component":
        assert resource["spec"]["version"] == "v1"
        assert resource["scopes"] == [default("api_app_id")], "the service itself must not see it"


def test_state_is_redis_with_keys_as_the_api_names_them() -> None:
    component = load("components/state.yaml")
    assert component["spec"]["type"] == "state.redis"
    assert metadata(component)["keyPrefix"] == "none"


def test_pubsub_is_jetstream_with_fan_out_under_the_default_name() -> None:
    component = load("components/pubsub.yaml")
    assert component["metadata"]["name"] == default("pubsub_name")
    assert component["spec"]["type"] == "pubsub.jetstream"
    fields = metadata(component)
    assert fields["deliverPolicy"] == "new"
    assert "ackWait" in fields
    assert not {"durableName", "queueGroupName"} & fields.keys()


def test_no_secret_stands_in_a_component() -> None:
    for path in RESOURCES:
        assert not re.search(r"(?i)password|token|api.?key|seedkey", path.read_text()), path


def test_production_has_mtls_tracing_and_denies_by_default() -> None:
    spec = load("configuration.yaml")["spec"]
    assert spec["mtls"]["enabled"] is True
    assert spec["tracing"]["otel"]["protocol"] == "grpc"
    assert spec["tracing"]["otel"]["endpointAddress"].endswith(":4317")
    assert spec["accessControl"]["defaultAction"] == "deny"
    callers = [each["appId"] for each in spec["accessControl"]["policies"]]
    assert callers == ["websocketmanager", default("api_app_id")]


def test_the_service_may_call_what_it_calls_and_nothing_else() -> None:
    api = methods("virtufin_api.proto")
    needed = {name for name in api if "/virtufin.State/" in name or "/Publish" in name}
    assert allowed("websocketmanager") == needed


def test_the_gateway_may_call_every_rpc_of_the_service() -> None:
    assert allowed(default("api_app_id")) == methods("websocketmanager.proto")


def test_the_local_configuration_works_without_certificates() -> None:
    local = load("configuration.local.yaml")["spec"]
    assert "mtls" not in local
    assert "accessControl" not in local, "without certificates it would deny everything"
    production = load("configuration.yaml")["spec"]
    assert local["nameResolution"] == production["nameResolution"]
    assert local["tracing"]["otel"] == production["tracing"]["otel"]


def test_the_run_file_uses_the_files_beside_it() -> None:
    run = load("dapr.yaml")
    assert run["version"] == 1
    for path in (*run["common"]["resourcesPaths"], run["common"]["configFilePath"]):
        assert (DAPR / path).exists(), path
    for app in run["apps"]:
        assert app.keys() <= RUN_KEYS
        assert (DAPR / app["appDirPath"]).resolve() == ROOT


def test_the_run_files_ports_are_the_defaults(apps: dict[str, Any]) -> None:
    service, api = apps["websocketmanager"], apps[default("api_app_id")]
    assert service["appPort"] == default("grpc_port")
    assert service["daprGRPCPort"] == default("dapr_grpc_port")
    assert api["appPort"] == default("api_grpc_port")
    assert service["appProtocol"] == api["appProtocol"] == "grpc"
    ports = [app[each] for app in apps.values() for each in PORTS]
    assert len(set(ports)) == len(ports)


def test_the_run_files_variables_are_settings_and_say_the_same(apps: dict[str, Any]) -> None:
    service = load_settings(cli={}, environ=apps["websocketmanager"]["env"], file={})
    assert service.api_route == "dapr"
    assert service.api_app_id == default("api_app_id")
    assert service.grpc_port == apps["websocketmanager"]["appPort"]
    assert service.dapr_grpc_port == apps["websocketmanager"]["daprGRPCPort"]
    api = load_settings(cli={}, environ=apps[default("api_app_id")]["env"], file={})
    assert api.api_grpc_port == apps[default("api_app_id")]["appPort"]
    assert [app["command"][0] for app in apps.values()] == ["websocketmanager"] * 2


def test_the_readme_says_that_the_service_itself_uses_neither_component() -> None:
    text = (DAPR / "README.md").read_text()
    assert "never uses a Dapr state store or pub/sub itself" in text
    for path in DAPR.rglob("*.yaml"):
        assert f"`{path.relative_to(DAPR)}`" in text, path
