"""What holds of the Helm chart and the Dockerfile. tests/helm/run calls it with the path of a helm."""

import copy
import functools
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import kubernetes_validate
import kubernetes_validate.utils
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "helm"
HELM = sys.argv[1]
# The oldest that Chart.yaml's kubeVersion allows, and the newest there are schemas of.
KUBERNETES = ["1.27.0", "1.37.0"]
# Kinds that operators define and Kubernetes has no schema of: paths that must be there.
CUSTOM = {
    "ServiceMonitor": ["spec.selector.matchLabels", "spec.endpoints.0.port", "spec.endpoints.0.interval"],
    "ScaledObject": [
        "spec.scaleTargetRef.kind", "spec.scaleTargetRef.name", "spec.minReplicaCount", "spec.maxReplicaCount", "spec.triggers.0.type",
        *(f"spec.triggers.0.metadata.{field}" for field in ["bootstrapServers", "consumerGroup", "topic", "lagThreshold", "offsetResetPolicy"]),
    ],
    "TriggerAuthentication": [f"spec.secretTargetRef.0.{field}" for field in ["parameter", "name", "key"]],
}

# Each document asks for the same megabytes of definitions again.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)

n_checks = 0
faults = []


def check(holds, fault):
    global n_checks
    n_checks += 1
    if not holds:
        faults.append(fault)


def helm(*arguments):
    done = subprocess.run([HELM, *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def template(*arguments, chart=CHART):
    """The documents of a rendering, or its error."""
    code, out, error = helm("template", "test", chart, "--namespace", "security", "--kube-version", KUBERNETES[-1], *arguments)
    return ([document for document in yaml.safe_load_all(out) if document], None) if code == 0 else (None, error)


def at(tree, path):
    """What is at a dotted path, None when nothing is."""
    for step in path.split("."):
        if isinstance(tree, list):
            tree = tree[int(step)] if int(step) < len(tree) else None
        else:
            tree = tree.get(step) if isinstance(tree, dict) else None
    return tree


def one(documents, kind, suffix=""):
    return next((d for d in documents if d["kind"] == kind and d["metadata"]["name"].endswith(suffix)), None)


def pod(documents):
    return at(one(documents, "StatefulSet"), "spec.template.spec")


def of_name(documents, kind, name):
    """The document of this kind and name, None when there is none."""
    return next((d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name), None)


def overlay(under, over):
    """Helm's way to lay one file of values over another."""
    out = copy.deepcopy(under)
    for key, value in over.items():
        out[key] = overlay(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else copy.deepcopy(value)
    return out


def same(expected, got):
    """Equal, and a whole number still a whole number: the program refuses 2.0 for a count."""
    if isinstance(expected, dict):
        return isinstance(got, dict) and expected.keys() == got.keys() and all(same(expected[key], got[key]) for key in expected)
    if isinstance(expected, list):
        return isinstance(got, list) and len(expected) == len(got) and all(map(same, expected, got))
    return type(expected) is type(got) and expected == got


def options_of_program():
    """{dotted name: JSON type} of every option of engine/src/config.rs."""
    text = (ROOT / "engine/src/config.rs").read_text()
    structs = {name: re.findall(r"(?<!serde\(skip\)\]\n)^    pub (\w+): (.+),$", body, re.M)
               for name, body in re.findall(r"^pub struct (\w+) \{\n(.*?)^\}", text, re.M | re.S)}
    types = {"String": "string", "PathBuf": "string", "bool": "boolean", "f64": "number", "f32": "number"}

    def walk(struct, prefix):
        for name, of in structs[struct]:
            of = re.sub(r"^Option<(.*)>$", r"\1", of)
            listed = re.match(r"Vec<(\w+)>$", of)
            inner = listed[1] if listed else of
            if re.fullmatch(r"[ui](8|16|32|64|size)", of):
                yield prefix + name, "integer"
            else:
                # An enumeration is a string in the file.
                yield prefix + name, "array" if listed else "object" if inner in structs or of.startswith("BTreeMap<") or of == "Properties" else types.get(of, "string")
            if inner in structs:
                yield from walk(inner, f"{prefix}{name}.")

    return dict(walk("Config", ""))


def options_of_schema(schema, prefix=""):
    for name, of in schema.get("properties", {}).items():
        yield prefix + name, of
        yield from options_of_schema(of.get("items", of), f"{prefix}{name}.")


def check_options(schema, values_text, every):
    program = options_of_program()
    check(len(program) >= 30 and {"brokers", "sources.topic", "topics.partitions", "models.pairs_max", "kafka"} <= program.keys(),
          f"reading config.rs finds only {sorted(program)}")
    listed = dict(options_of_schema(schema["properties"]["config"]))
    for name, of in program.items():
        check(name in listed, f"values.schema.json lacks config.{name}")
        # A constant needs no type.
        stated = listed.get(name, {}).get("type", of)
        check(stated == of, f"config.{name} is {stated} in values.schema.json and {of} in config.rs")
    for name in listed.keys() - program.keys():
        check(False, f"values.schema.json has config.{name}, which config.rs lacks")
    for name, of in listed.items():
        leaf = name.split(".")[-1]
        check(re.search(rf"\b{leaf}\b[:`]", values_text), f"values.yaml does not show config.{name}")
        # `rules` is set by the chart there.
        shown = at(every, re.sub(r"^sources\.", "sources.0.", name))
        check(shown is not None or name == "rules", f"ci/every-option-values.yaml lacks config.{name}")
        if of.get("type") == "object" and "additionalProperties" in of and "properties" in of:
            check(of["additionalProperties"] is False, f"config.{name} takes unknown options")


def leaves(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def expected_toml(values):
    """The configuration file that values mean."""
    config = copy.deepcopy(values["config"])
    config["state"] = "/var/lib/tollwatch"
    if values["rules"] or values["rulesConfigMap"]:
        config["rules"] = "/etc/tollwatch/rules"
    tls = values["kafka"]["tls"]
    if tls["existingSecret"]:
        for key, table, name in [("caKey", "kafka", "ssl.ca.location"), ("certKey", "kafka", "ssl.certificate.location"),
                                 ("keyKey", "kafka", "ssl.key.location"), ("keyPasswordKey", "kafka_files", "ssl.key.password")]:
            if tls[key]:
                config.setdefault(table, {})[name] = f"/etc/tollwatch/tls/{tls[key]}"
    return config


def check_schemas(name, documents):
    for document in documents:
        kind = document["kind"]
        what = f"{name}: {kind} {document['metadata']['name']}"
        check(document["metadata"].get("namespace") == "security", f"{what} names no namespace")
        if kind in CUSTOM:
            for path in CUSTOM[kind]:
                check(at(document, path), f"{what} lacks {path}")
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(document, version, strict=True)
                check(True, "")
            except kubernetes_validate.ValidationError as error:
                check(False, f"{what} against Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}")


def check_pod(name, spec):
    """Pod Security Standard "restricted", a root file system that is not written, and mounts that have volumes."""
    security, own = spec["securityContext"], spec["containers"][0]["securityContext"]
    check(security["runAsNonRoot"] is True and security["seccompProfile"] == {"type": "RuntimeDefault"} and security.get("runAsUser") != 0,
          f"{name}: the pod may run as root or without seccomp")
    check(own == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
          f"{name}: the container is not restricted: {own}")
    check(spec["automountServiceAccountToken"] is False, f"{name}: the pod gets a token of the cluster")
    check(not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), f"{name}: the pod shares its node's namespaces")
    check(spec["enableServiceLinks"] is False, f"{name}: a Service's variables could be read as options")


def options(container):
    """{option: its values} of a container's arguments, which are all --option=value or --option."""
    found = {}
    for argument in container["args"][1:]:
        option, _, value = argument.partition("=")
        found.setdefault(option, []).append(value)
    return found


def check_command(name, values, documents, full, ports):
    """What holds of the pods of another command: its Deployment, Service and network policy; `ports` beside that of the metrics."""
    deployment, main = of_name(documents, "Deployment", full), one(documents, "StatefulSet")
    spec = at(deployment, "spec.template.spec")
    container = spec["containers"][0]
    check_pod(full, spec)
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    volumes = {v["name"]: v for v in spec["volumes"]}
    check(set(mounts.values()) == set(volumes), f"{full}: mounts {mounts} and volumes {set(volumes)}")
    check(at(volumes["config"], "configMap.name") == main["metadata"]["name"], f"{full}: another configuration")
    config = options(container)["--config"][0]
    check(str(pathlib.Path(config).parent) in mounts, f"{full}: {config} is not mounted")
    check(("/etc/tollwatch/tls" in mounts) == bool(values["kafka"]["tls"]["existingSecret"]), f"{full}: Kafka's certificates are not mounted")
    environment = {e["name"]: e for e in container["env"]}
    ours = {e["name"]: e for e in main["spec"]["template"]["spec"]["containers"][0]["env"] if e["name"] != "TOLLWATCH_INSTANCE"}
    check(ours.items() <= environment.items(), f"{full}: other variables than the service has")
    metrics = int(values["config"]["listen"].rsplit(":", 1)[1])
    wanted = {"metrics": metrics, **ports}
    check({p["name"]: p["containerPort"] for p in container["ports"]} == wanted, f"{full}: the ports are not {wanted}")
    for probe, path in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]:
        check(at(container, f"{probe}.httpGet") == {"path": path, "port": "metrics"}, f"{full}: {probe} asks something else")
    # Nothing that selects the service's pods selects these, and the other way round.
    labels = at(deployment, "spec.template.metadata.labels").items()
    theirs = at(main, "spec.template.metadata.labels").items()
    selectors = [at(deployment, "spec.selector.matchLabels"), at(of_name(documents, "Service", full), "spec.selector")]
    if values["networkPolicy"]["enabled"]:
        selectors.append(at(of_name(documents, "NetworkPolicy", full), "spec.podSelector.matchLabels"))
    for selector in selectors:
        check(selector and selector.items() <= labels and not selector.items() <= theirs, f"{full}: {selector} does not select its pods alone")
    check(not at(main, "spec.selector.matchLabels").items() <= labels, f"{full}: the service's selector takes its pods")
    check({p["name"]: p["port"] for p in of_name(documents, "Service", full)["spec"]["ports"]} == wanted, f"{full}: the Service's ports are not {wanted}")
    return container, volumes, environment


def egress(documents, full):
    policy = of_name(documents, "NetworkPolicy", full)["spec"]
    return {p["port"] for rule in policy["egress"] for p in rule["ports"]} - {53}


def check_commands(name, values, documents):
    main = one(documents, "StatefulSet")["metadata"]["name"]
    kafka = {int(broker.rsplit(":", 1)[1]) for broker in values["config"]["brokers"].split(",")} | set(values["networkPolicy"]["extraKafkaPorts"])
    kafka |= {p["port"] for rule in values["networkPolicy"]["extraEgress"] for p in rule["ports"]}
    for sink, given in values["deliver"].items():
        full = f"{main}-deliver-{sink}"
        container, volumes, _ = check_command(name, values, documents, full, {})
        got = options(container)
        files = {item["path"]: (source["secret"]["name"], item["key"])
                 for source in at(volumes, "sink.projected.sources") or [] for item in source["secret"]["items"]}
        folder = "/etc/tollwatch/sink/"
        wanted = {"--config": got["--config"], "--name": [sink], "--instance": [sink], "--listen": got["--listen"], "--as": [given.get("as", "ocsf")]}
        secrets = {}
        if address := given.get("toSecret"):
            secrets["address"] = (address["existingSecret"], address.get("key", "address"))
            wanted["--to"] = [f"@{folder}address"]
        else:
            wanted["--to"] = [given["to"]]
        if token := given.get("token"):
            secrets["token"] = (token["existingSecret"], token.get("key", "token"))
            wanted["--token-file"] = [f"{folder}token"]
        tls = given.get("tls", {})
        for key, option, path in [("caKey", "--tls-ca", "ca.crt"), ("certKey", "--tls-cert", "tls.crt"), ("keyKey", "--tls-key", "tls.key")]:
            if key in tls:
                secrets[path] = (tls["existingSecret"], tls[key])
                wanted[option] = [folder + path]
        for key, option in [("minSeverity", "--min-severity"), ("deadLetters", "--dead-letters"), ("tries", "--tries"), ("subject", "--subject")]:
            if key in given:
                wanted[option] = [str(given[key])]
        if given.get("rules"):
            wanted["--rule"] = given["rules"]
        if given.get("findings"):
            wanted["--findings"] = [""]
        if given.get("register") is False:
            wanted["--no-register"] = [""]
        check(container["args"][0] == "deliver" and got == wanted, f"{full}: {got} instead of {wanted}")
        check(files == secrets, f"{full}: files {files} instead of {secrets}")
        deployment = of_name(documents, "Deployment", full)["spec"]
        check(deployment["replicas"] == 1 and deployment["strategy"] == {"type": "Recreate"}, f"{full}: two could be one member of their group")
        check(container["resources"] == given.get("resources", values["commandResources"]), f"{full}: resources of another")
        if values["networkPolicy"]["enabled"]:
            parts = urllib.parse.urlsplit(given.get("to", ""))
            ports = {parts.port or {"https": 443, "http": 80}[parts.scheme]} if parts.scheme in ("http", "https", "tcp", "tls") else set()
            if given.get("as") == "avro":
                registry = urllib.parse.urlsplit(values["config"]["registry"]["url"])
                ports.add(registry.port or {"https": 443, "http": 80}[registry.scheme])
            ports |= set(given.get("egressPorts", []))
            check(egress(documents, full) == kafka | ports, f"{full}: egress to {egress(documents, full)}")
    collect = values["collect"]
    full = f"{main}-collect"
    check(bool(of_name(documents, "Deployment", full)) == collect["enabled"], f"{name}: {full} is there, or is not")
    if collect["enabled"]:
        ports = {port: collect[f"{port}Port"] for port in ("http", "grpc") if collect[f"{port}Port"]}
        container, _, environment = check_command(name, values, documents, full, ports)
        got = options(container)
        wanted = {"--config": got["--config"], "--topic": [collect["topic"]], "--metrics": got["--metrics"],
                  **{option: [f"0.0.0.0:{ports[port]}"] for port, option in [("http", "--listen"), ("grpc", "--listen-grpc")] if port in ports}}
        check(container["args"][0] == "collect" and got == wanted, f"{full}: {got} instead of {wanted}")
        token = collect["token"]
        wanted = {"name": token["existingSecret"], "key": token["key"]} if token["existingSecret"] else None
        check(at(environment.get("TOLLWATCH_COLLECT_TOKEN", {}), "valueFrom.secretKeyRef") == wanted, f"{full}: the token is not from the Secret")
        if values["networkPolicy"]["enabled"]:
            check(egress(documents, full) == kafka, f"{full}: egress to {egress(documents, full)}")
            senders, *readers = of_name(documents, "NetworkPolicy", full)["spec"]["ingress"]
            check(senders["from"] == (collect["from"] or [{"podSelector": {}}]) and {p["port"] for p in senders["ports"]} == set(ports),
                  f"{full}: {senders} may send")
            check(bool(readers) == bool(values["networkPolicy"]["metricsNamespace"]), f"{full}: {readers} may read the metrics")
        check(bool(of_name(documents, "PodDisruptionBudget", full)) == values["podDisruptionBudget"]["enabled"], f"{full}: a drain may take all of it")
    deployments = [d["spec"] for d in documents if d["kind"] == "Deployment"]
    for deployment in deployments:
        selector = deployment["selector"]["matchLabels"].items()
        n_selected = sum(selector <= other["template"]["metadata"]["labels"].items() for other in deployments)
        check(n_selected == 1, f"{name}: {selector} selects pods of {n_selected} Deployments")
    n_deployments = len(deployments)
    check(n_deployments == len(values["deliver"]) + collect["enabled"], f"{name}: {n_deployments} Deployments")


def check_rendered(name, values, documents):
    kinds = [d["kind"] for d in documents]
    check("Secret" not in kinds, f"{name} renders a Secret")
    stateful, spec = one(documents, "StatefulSet"), pod(documents)
    container = spec["containers"][0]
    environment = {e["name"]: e for e in container["env"]}

    def own(kind):
        return of_name(documents, kind, stateful["metadata"]["name"])

    # The configuration is what the values say.
    text = next(d["data"]["tollwatch.toml"] for d in documents if d["kind"] == "ConfigMap" and "tollwatch.toml" in d["data"])
    parsed = tomllib.loads(text)
    check(same(expected_toml(values), parsed), f"{name}: tollwatch.toml is not what the values say:\n{text}")
    rules = one(documents, "ConfigMap", "-rules")
    check((rules or {"data": {}})["data"] == values["rules"], f"{name}: the rules are not those of the values")

    check_pod(name, spec)

    # A member that keeps its name.
    check(at(environment["TOLLWATCH_INSTANCE"], "valueFrom.fieldRef.fieldPath") == "metadata.name", f"{name}: the instance is not the pod's name")
    check(stateful["spec"]["podManagementPolicy"] == "Parallel", f"{name}: pods wait for each other to start")
    check(own("Service") and stateful["spec"]["serviceName"] == own("Service")["metadata"]["name"], f"{name}: the StatefulSet's Service is another")
    check(("replicas" in stateful["spec"]) != values["autoscaling"]["enabled"], f"{name}: KEDA and the chart both set replicas, or neither")
    labels = at(stateful, "spec.template.metadata.labels").items()
    for what, selector in [("StatefulSet", at(stateful, "spec.selector.matchLabels")), ("Service", own("Service")["spec"]["selector"]),
                           *((kind, at(own(kind), path)) for kind, path in
                             [("PodDisruptionBudget", "spec.selector.matchLabels"), ("NetworkPolicy", "spec.podSelector.matchLabels")] if kind in kinds)]:
        check(selector and selector.items() <= labels, f"{name}: the {what} does not select the pods")
    if "ServiceMonitor" in kinds:
        selector = at(one(documents, "ServiceMonitor"), "spec.selector.matchLabels").items()
        for service in (d for d in documents if d["kind"] == "Service"):
            check(selector <= service["metadata"]["labels"].items(), f"{name}: the ServiceMonitor does not select {service['metadata']['name']}")

    # Probes ask the port the program listens on.
    port = int(parsed["listen"].rsplit(":", 1)[1])
    check(container["ports"] == [{"name": "metrics", "containerPort": port, "protocol": "TCP"}], f"{name}: the port is not {port}")
    probes = {probe: at(container, f"{probe}.httpGet") for probe in ["startupProbe", "livenessProbe", "readinessProbe"]}
    check(probes == {"startupProbe": {"path": "/livez", "port": "metrics"}, "livenessProbe": {"path": "/livez", "port": "metrics"},
                     "readinessProbe": {"path": "/readyz", "port": "metrics"}}, f"{name}: probes ask something else: {probes}")

    # Every file that the configuration names is mounted, and every mount is of a volume.
    mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
    volumes = {v["name"]: v for v in [*spec["volumes"], *({"name": c["metadata"]["name"]} for c in stateful["spec"].get("volumeClaimTemplates", []))]}
    check(all(m["name"] in volumes for m in mounts.values()), f"{name}: a mount has no volume")
    check(len(mounts) == len(container["volumeMounts"]), f"{name}: two mounts at one place")
    config_file = container["args"][-1]
    check(str(pathlib.Path(config_file).parent) in mounts and config_file.endswith("/tollwatch.toml"), f"{name}: {config_file} is not mounted")
    check("rules" not in parsed or parsed["rules"] in mounts, f"{name}: the rules are not mounted")
    check(parsed["state"] in mounts and not mounts[parsed["state"]].get("readOnly"), f"{name}: the state folder is not writable")
    for path in [v for key, v in parsed.get("kafka", {}).items() if key.endswith(".location")]:
        check(str(pathlib.Path(path).parent) in mounts, f"{name}: {path} is not mounted")

    # Credentials come from Secrets.
    key = values["identityKey"]
    mount = mounts.get(f"{parsed['state']}/identity.key")
    check(bool(mount) == bool(key["existingSecret"]), f"{name}: the key is not mounted where the program looks for it")
    if mount:
        secret = volumes[mount["name"]]["secret"]
        check(mount.get("readOnly") and mount["subPath"] == "identity.key" and secret["secretName"] == key["existingSecret"]
              and secret["items"] == [{"key": key["key"], "path": "identity.key"}], f"{name}: the key is not the Secret's")
    sasl = values["kafka"]["sasl"]
    for variable, field in [("TOLLWATCH_KAFKA_SASL_USERNAME", "usernameKey"), ("TOLLWATCH_KAFKA_SASL_PASSWORD", "passwordKey")]:
        wanted = {"name": sasl["existingSecret"], "key": sasl[field]} if sasl["existingSecret"] else None
        check(at(environment.get(variable, {}), "valueFrom.secretKeyRef") == wanted, f"{name}: {variable} is not from the Secret")
    registry = values["registry"]
    for variable, field in [("TOLLWATCH_REGISTRY_USER", "usernameKey"), ("TOLLWATCH_REGISTRY_PASSWORD", "passwordKey")]:
        wanted = {"name": registry["existingSecret"], "key": registry[field]} if registry["existingSecret"] else None
        check(at(environment.get(variable, {}), "valueFrom.secretKeyRef") == wanted, f"{name}: {variable} is not from the Secret")
    if tls := values["kafka"]["tls"]["existingSecret"]:
        check(at(volumes["tls"], "secret.secretName") == tls, f"{name}: TLS files are not the Secret's")
    if store := values["objectStore"]["existingSecret"]:
        check(container["envFrom"] == [{"secretRef": {"name": store}}], f"{name}: the object store's variables are not the Secret's")

    # Snapshots in an object store leave nothing to claim.
    remote = re.match("(s3|gs|az)://", parsed.get("snapshots", {}).get("url", ""))
    check(bool(remote) != ("volumeClaimTemplates" in stateful["spec"]), f"{name}: the state volume is of the wrong kind")

    remote_lake = re.match("(s3|gs|az)://", parsed.get("lake", {}).get("url", ""))
    if "NetworkPolicy" in kinds:
        policy = own("NetworkPolicy")["spec"]
        ports = {p["port"] for rule in policy["egress"] for p in rule["ports"]} - {53}
        wanted = {int(broker.rsplit(":", 1)[1]) for broker in parsed["brokers"].split(",")} | set(values["networkPolicy"]["extraKafkaPorts"])
        wanted |= {p["port"] for rule in values["networkPolicy"]["extraEgress"] for p in rule["ports"]} | ({443} if remote or remote_lake else set())
        if url := parsed.get("registry", {}).get("url"):
            parts = urllib.parse.urlsplit(url)
            wanted.add(parts.port or {"https": 443, "http": 80}[parts.scheme])
        check(ports == wanted, f"{name}: egress to {ports} instead of {wanted}")
        check(set(policy["policyTypes"]) == {"Ingress", "Egress"}, f"{name}: the policy leaves one way open")
        readers = [at(peer, "namespaceSelector.matchLabels") for rule in policy["ingress"] for peer in rule["from"]]
        namespace = values["networkPolicy"]["metricsNamespace"]
        check(readers == ([{"kubernetes.io/metadata.name": namespace}] if namespace else []), f"{name}: {readers} may read the metrics")
    if "ScaledObject" in kinds:
        scaled = one(documents, "ScaledObject")["spec"]
        check(scaled["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": stateful["metadata"]["name"]},
              f"{name}: KEDA scales something else")
        check([t["metadata"]["topic"] for t in scaled["triggers"]] == [s["topic"] for s in parsed["sources"]], f"{name}: KEDA asks other topics")
        check(all(t["metadata"]["consumerGroup"] == f"{parsed['group']}.decode" for t in scaled["triggers"]), f"{name}: KEDA asks another group")
        named = one(documents, "TriggerAuthentication")
        check(all(at(t, "authenticationRef.name") == (named or {"metadata": {"name": None}})["metadata"]["name"] for t in scaled["triggers"]),
              f"{name}: KEDA's triggers have no credentials")


MINIMAL = CHART / "ci/minimal-values.yaml"
SECURED = CHART / "ci/secured-values.yaml"
AUTOSCALED = CHART / "ci/autoscaled-values.yaml"
COMMANDS = CHART / "ci/commands-values.yaml"
KEY = ["--set", "identityKey.existingSecret=key"]
# Values that must be refused: what for, a file, what is set over it, words of the message (a newer and an older Helm's).
REFUSED = [
    ("an unknown option", MINIMAL, ["--set", "config.brokerz=a:1"], "brokerz"),
    ("an unknown option of a table", MINIMAL, ["--set", "config.models.pears_max=5000"], "pears_max"),
    ("an unknown value", MINIMAL, ["--set", "replicaCount=3"], "replicaCount"),
    ("a nonsensical delivery", MINIMAL, ["--set", "config.delivery=nonsense"], "delivery"),
    ("a nonsensical group protocol", MINIMAL, ["--set", "config.group_protocol=share"], "group_protocol"),
    ("a format nobody decodes", MINIMAL, ["--set", "config.sources[0].format=iis"], "the format iis"),
    ("a mapping without fields", MINIMAL, ["--set", "config.mapping.orders.where=true"], "fields"),
    ("no broker", MINIMAL, ["--set", "config.brokers="], "brokers"),
    ("a broker without a port", MINIMAL, ["--set", "config.brokers=kafka"], "brokers"),
    ("no source", MINIMAL, ["--set-json", "config.sources=[]"], "sources"),
    ("a count that is none", MINIMAL, ["--set", "config.threads=1.5"], "threads"),
    ("too many threads", MINIMAL, ["--set", "config.threads=65"], "threads"),
    ("too many partitions", MINIMAL, ["--set", "config.topics.partitions=257"], "partitions"),
    ("a knob at zero", MINIMAL, ["--set", "config.models.false_alerts_per_million_events=0"], "false_alerts"),
    ("a table too small", MINIMAL, ["--set", "config.models.pairs_max=999"], "pairs_max"),
    ("too few snapshots", MINIMAL, ["--set", "config.snapshots.keep=1"], "keep"),
    ("a store nobody knows", MINIMAL, ["--set", "config.snapshots.url=ftp://a/b"], "url"),
    ("loopback", MINIMAL, ["--set", "config.listen=127.0.0.1:9477"], "listen"),
    ("one name for all instances", MINIMAL, ["--set", "config.instance=a"], "instance"),
    ("a password in the values", MINIMAL, ["--set", r"config.kafka.sasl\.password=x"], "sasl.password"),
    ("a key's password in the values", MINIMAL, ["--set", r"config.kafka.ssl\.key\.password=x"], "ssl.key.password"),
    ("a private key in the values", MINIMAL, ["--set", r"config.kafka.ssl\.key\.pem=x"], "ssl.key.pem"),
    ("a number where Kafka takes text", MINIMAL, ["--set", r"config.kafka.session\.timeout\.ms=6000"], "session.timeout.ms"),
    ("a rule that is no .sql", MINIMAL, ["--set", "rules.readme=x"], "readme"),
    ("a grace period of a commit", MINIMAL, ["--set", "terminationGracePeriodSeconds=1"], "terminationGracePeriodSeconds"),
    ("root", MINIMAL, ["--set", "podSecurityContext.runAsUser=0"], "runAsUser"),
    ("two pods with keys of their own", MINIMAL, ["--set", "replicas=2"], "identityKey.existingSecret"),
    ("autoscaled pods with keys of their own", AUTOSCALED, ["--set", "identityKey.existingSecret=", "--set", "state.volume=claim"], "identityKey.existingSecret"),
    ("a key that dies with its pod", MINIMAL, ["--set", "state.volume=ephemeral"], "identityKey.existingSecret"),
    ("pods without partitions", MINIMAL, [*KEY, "--set", "replicas=5"], "5 pods for 4 partitions"),
    ("more replicas in sync than there are", MINIMAL, ["--set", "config.topics.min_insync_replicas=2"], "min_insync_replicas"),
    ("rules of two origins", MINIMAL, ["--set", r"rules.a\.sql=x", "--set", "rulesConfigMap=b"], "rulesConfigMap"),
    ("a password on an open line", SECURED, ["--set", r"config.kafka.security\.protocol=SSL"], "kafka.sasl.existingSecret"),
    ("a login at no registry", MINIMAL, ["--set", "registry.existingSecret=a"], "registry.existingSecret"),
    ("a password in the registry's address", MINIMAL, ["--set", "config.registry.url=https://a:b@c"], "url"),
    ("certificates nobody shows", SECURED, ["--set", r"config.kafka.security\.protocol=SASL_PLAINTEXT"], "kafka.tls.existingSecret"),
    ("half a certificate", SECURED, ["--set", "kafka.tls.keyKey="], "kafka.tls.keyKey"),
    ("metrics nobody may read", SECURED, ["--set", "networkPolicy.metricsNamespace="], "metricsNamespace"),
    ("a mechanism KEDA needs told", AUTOSCALED, ["--set", r"config.kafka.sasl\.mechanism=GSSAPI"], "authenticationRef"),
    ("a sink without a target", MINIMAL, ["--set", "deliver.a.as=cef"], "deliver"),
    ("a sink with two targets", COMMANDS, ["--set", "deliver.chat.to=stdout"], "deliver"),
    ("a sink's file, which a pod has no place for", MINIMAL, ["--set", "deliver.a.to=file:/tmp/a"], "deliver"),
    ("a password in a sink's address", MINIMAL, ["--set", "deliver.a.to=https://a:b@c"], "deliver"),
    ("a sink's unknown option", MINIMAL, ["--set", "deliver.a.to=stdout", "--set", "deliver.a.sa=cef"], "sa"),
    ("a format nobody renders", MINIMAL, ["--set", "deliver.a.to=stdout", "--set", "deliver.a.as=xml"], "deliver"),
    ("Avro without a registry", MINIMAL, ["--set", "deliver.a.to=topic:b", "--set", "deliver.a.as=avro"], "config.registry has no url"),
    ("Avro to a web hook", COMMANDS, ["--set", "deliver.webhook.as=avro"], "avro goes to topic:NAME"),
    ("a subject without Avro", COMMANDS, ["--set", "deliver.webhook.subject=a"], "are for avro"),
    ("a secret address nothing may reach", COMMANDS, ["--set-json", "deliver.chat.egressPorts=[]"], "deliver.chat.toSecret needs egressPorts"),
    ("a token without TLS", COMMANDS, ["--set", "deliver.splunk.to=http://splunk:8088"], "a token is not sent without TLS"),
    ("a certificate without its key", COMMANDS, ["--set", "deliver.siem.tls.keyKey=null"], "keyKey"),
    ("a topic that nobody reads", COMMANDS, ["--set", "collect.topic=other"], "collect.topic"),
    ("a receiver that does not listen", COMMANDS, ["--set", "collect.httpPort=0", "--set", "collect.grpcPort=0"], "neither httpPort nor grpcPort"),
    ("one port for two", COMMANDS, ["--set", "collect.grpcPort=9477"], "are not three"),
    ("more pods at least than at most", AUTOSCALED, ["--set", "autoscaling.minReplicas=9"], "minReplicas"),
]


def check_refused(row):
    what, values, arguments, words = row
    documents, error = template("--values", values, *arguments)
    check(documents is None and words in error, f"{what} is not refused by name: {(error or 'rendered').strip()}")


def check_roll_out():
    def checksum(*arguments):
        documents, error = template("--values", MINIMAL, *arguments)
        check(documents, f"roll-out: {error}")
        annotations = at(one(documents, "StatefulSet"), "spec.template.metadata.annotations")
        return annotations["checksum/config"]

    config = checksum()
    check(checksum() == config, "checksums of the same values differ")
    check(checksum("--set", "config.idle_ms=3000") != config, "checksum/config does not follow the configuration")
    check(checksum("--set", r"config.kafka.security\.protocol=SSL", "--set", "kafka.tls.existingSecret=a") != config, "checksum/config does not follow what the chart adds")
    rules = checksum("--set", r"rules.a\.sql=x")
    check(rules != config, "checksum/config does not follow that there are rules")
    check(checksum("--set", r"rules.a\.sql=y") == rules, "pods restart for rules, which they read again themselves")
    check(checksum("--set", "serviceMonitor.interval=30s", "--set", "podDisruptionBudget.enabled=false") == config, "pods restart for what is not theirs")


def check_notes():
    """NOTES.txt, which `helm template` leaves out, rendered as a document."""
    with tempfile.TemporaryDirectory() as folder:
        chart = pathlib.Path(folder) / "tollwatch"
        shutil.copytree(CHART, chart)
        notes = chart / "templates/NOTES.txt"
        (chart / "templates/_notes.tpl").write_text('{{- define "notes" -}}\n' + notes.read_text() + "{{- end }}\n")
        (chart / "templates/notes.yaml").write_text('kind: Notes\nmetadata: {name: notes}\ntext: {{ include "notes" . | toJson }}\n')
        notes.unlink()
        for values, said, unsaid in [
            (MINIMAL, ["gateway-logs from kafka:9092", "rollout status statefulset/test-tollwatch", "claim of pod test-tollwatch-0"], ["Snapshots are in a folder"]),
            (SECURED, ["kong, envoy from", "Snapshots are in a folder of each pod", "up to 4 lanes"], ["claim of pod"]),
            (AUTOSCALED, ["up to 4 lanes"], ["Snapshots are in a folder", "claim of pod"]),
            (CHART / "ci/every-option-values.yaml", ["at 32.0 GiB"], ["some threads are idle"]),
        ]:
            documents, error = template("--values", values, chart=chart)
            text = one(documents, "Notes")["text"] if documents else ""
            check(documents and all(words in text for words in said) and not any(words in text for words in unsaid), f"the notes of {values.name}: {error or text}")


def check_dockerfile(values):
    """The Dockerfile's structure: this needs no registry, and builds nothing."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    steps = [line.split(None, 1) for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
    froms = [rest.split() for word, rest in steps if word == "FROM"]
    stages = {words[2] for words in froms if len(words) == 3}
    check(len(froms) >= 2, "the Dockerfile has one stage: the compiler would be in the image")
    for words in froms:
        pinned = re.fullmatch(r"[\w./-]+(:\d+\.\d+[\w.-]*|@sha256:[0-9a-f]{64})", words[0])
        check(pinned or words[0] in stages, f"FROM {words[0]} names no version")
    toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    check(froms[0][0].startswith(f"rust:{toolchain}-"), f"the image is built by {froms[0][0]}, and rust-toolchain.toml says {toolchain}")
    check("ADD" not in [word for word, _ in steps], "ADD can fetch a URL; COPY can't")
    check(not re.search(r"https?://", text), "the Dockerfile fetches from a URL")

    last = steps[max(i for i, (word, _) in enumerate(steps) if word == "FROM"):]
    only = {word: rest for word, rest in last}
    user = only.get("USER", "root").split(":")[0]
    check(user.isdigit() and int(user) > 0, f"USER is {user}: Kubernetes can see only of a number that it is not root")
    check(user == str(values["podSecurityContext"]["runAsUser"]), "the image's user is not the chart's")
    for word in ["ENTRYPOINT", "CMD"]:
        listed = only.get(word, "").startswith("[")
        check(listed, f"{word} is not a JSON list: a shell would get the signals")
        only[word] = json.loads(only[word]) if listed else []
    check(only["ENTRYPOINT"] == ["/usr/local/bin/tollwatch"], "ENTRYPOINT is not the program")
    check(values["config"]["listen"].endswith(f":{only.get('EXPOSE')}"), "EXPOSE is not the chart's port")
    documents, error = template("--values", MINIMAL)
    check(documents and only["CMD"] == pod(documents)["containers"][0]["args"], f"CMD is not the chart's arguments {error or ''}")

    # The build sees every crate, and the files its crates name.
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    for name in ["Cargo.toml", "Cargo.lock", "LICENSE", "rules", "tests", *members]:
        check(any(f"!{part}" in ignored for part in (name, name.split("/")[0])) and (ROOT / name).exists(), f".dockerignore keeps {name} from the build")
    check("*" in ignored and "!rust-toolchain.toml" not in ignored, ".dockerignore lets everything in, or the toolchain's file")


def main():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values_text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(values_text)
    files = sorted((CHART / "ci").glob("*-values.yaml"))
    check(len(files) >= 5, f"helm/ci has only {len(files)} files")

    every = yaml.safe_load((CHART / "ci/every-option-values.yaml").read_text())["config"]
    check_options(schema, values_text, every)
    readme = (CHART / "README.md").read_text()
    for leaf in leaves({key: value for key, value in values.items() if key != "config"}):
        if leaf.startswith(("probes.", "resources.", "commandResources.")):
            leaf = leaf.split(".")[0]  # as one there
        check(f"`{leaf}`" in readme, f"helm/README.md lacks `{leaf}`")
        check(at(schema, "properties." + leaf.replace(".", ".properties.")), f"values.schema.json lacks {leaf}")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    check(chart["appVersion"] == version, f"appVersion is {chart['appVersion']}, and Cargo.toml says {version}")
    check(KUBERNETES[0].rsplit(".", 1)[0] in chart["kubeVersion"], "the oldest Kubernetes that is checked is not Chart.yaml's")

    with ThreadPoolExecutor(4) as pool:
        linted = pool.map(lambda file: helm("lint", CHART, "--strict", "--values", file), files)
        rendered = pool.map(lambda file: template("--values", file), files)
        for file, (code, out, error), (documents, fault) in zip(files, linted, rendered):
            check(code == 0 and "[WARNING]" not in out, f"helm lint with {file.name}: {out}{error}")
            check(documents, f"helm template with {file.name}: {fault}")
            if documents:
                check_schemas(file.name, documents)
                given = overlay(values, yaml.safe_load(file.read_text()))
                check_rendered(file.name, given, documents)
                check_commands(file.name, given, documents)
        list(pool.map(check_refused, REFUSED))
    check_roll_out()
    check_notes()
    check_dockerfile(values)

    for fault in faults:
        print(f"helm: {fault}", file=sys.stderr)
    print(f"tests/helm/run: {n_checks - len(faults)} of {n_checks} checks hold, {len(files)} files of values, Kubernetes {' and '.join(KUBERNETES)}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
