//! `check`: configuration, rules, topics and formats; every fault at once.

use connectors::format::{Capabilities, Format, Presence, formats};
use models::posture::ANSWERED;

use super::run::RunArgs;
use super::{Failure, load_rules, rules, with_causes};
use crate::config::Config;
use crate::log::Log;
use crate::mapping::Mapping;
use crate::rule::{Rule, RuleSet};
use crate::service::{self, cluster};

/// Examples of the command; its options are those of `run`.
pub const EXAMPLES: &str = "Examples:
  tollwatch check -c tollwatch.toml
  tollwatch check --brokers broker:9092 --source-topic gateway-logs --format envoy
  tollwatch check --brokers localhost:9092 --source-topic kong --format kong --rules my-rules

Prints on which sources rules are blind; exit code 1 when there is a fault.";

/// Runs the command: prints every fault and what each rule is blind to; 1 when there is a fault.
///
/// # Errors
/// The configuration file can't be read.
pub fn run(args: &RunArgs) -> Result<u8, Failure> {
    let mut config = args.config()?;
    let mut faults = config.faults();
    match load_rules(config.rules.as_deref(), config.lookups.as_deref()) {
        Err(found) => faults.extend(found.0.iter().map(ToString::to_string)),
        Ok(loaded) => {
            if let Err(found) = rules::faults(&loaded) {
                faults.extend(found.0.iter().map(ToString::to_string));
            }
            coverage(&config, &loaded)
                .iter()
                .for_each(|line| println!("{line}"));
        }
    }
    faults.extend(config.template_set().err().map(|fault| fault.to_string()));
    faults.extend(briefing(&mut config));
    faults.extend(config.enrichment().err().map(|fault| fault.to_string()));
    if !config.brokers.is_empty() {
        faults.extend(topics(&config));
    }
    faults.extend(store(&config));
    faults.extend(standby(&config));
    faults.extend(lake(&config));
    faults.extend(registry(&config));
    if config.listens_beyond_loopback() {
        eprintln!(
            "warning: listen is {}, beyond loopback: whoever reaches it reads the metrics without a login",
            config.listen
        );
    }
    faults.iter().for_each(|fault| eprintln!("fault: {fault}"));
    if faults.is_empty() {
        println!("no faults");
    }
    Ok(u8::from(!faults.is_empty()))
}

/// The register of agents and the documents can be read, and lanes be told of them.
fn briefing(config: &mut Config) -> Option<String> {
    match config.read_briefing() {
        // Told with the templates already, where a document is the reason.
        Err(fault) => Some(fault.to_string()).filter(|_| config.template_set().is_ok()),
        Ok(()) => Some(service::briefing(&config.models).err()?.to_string()),
    }
}

/// The snapshot store is there, takes a file, and takes no second one of its name: what fencing rests on.
fn store(config: &Config) -> Option<String> {
    let probed = config.open_store().and_then(|store| store.probe());
    Some(with_causes(&probed.err()?))
}

/// The folder of copies can be written; says where it is and how much may be in it.
fn standby(config: &Config) -> Option<String> {
    let opened = config.open_standby();
    if let (Ok(Some(_)), Some(folder)) = (&opened, &config.snapshots.standby) {
        println!(
            "standby {}: copies of snapshots, at most {} bytes",
            folder.display(),
            config.snapshots.standby_bytes_max
        );
    }
    Some(with_causes(&opened.err()?))
}

/// The lake is there, takes a file, and takes no second one of its name.
fn lake(config: &Config) -> Option<String> {
    let opened = config.open_lake();
    let probed = opened.and_then(|lake| lake.map_or(Ok(()), |lake| lake.probe()));
    Some(with_causes(&probed.err()?))
}

/// The schema registry answers as one does; what is wrong with its options is told with the others.
fn registry(config: &Config) -> Option<String> {
    let values = config.open_values().ok()?;
    Some(values.probe().err()?.to_string())
}

fn topics(config: &Config) -> Vec<String> {
    let cluster = cluster(config);
    let mut faults = Vec::new();
    for source in &config.sources {
        if let Err(error) = cluster.watermarks(&source.topic) {
            faults.push(format!("source {}: {error}", source.topic));
        }
    }
    let logs = Log::ALL.map(|log| config.log_topic(log));
    for topic in logs
        .iter()
        .chain([&config.dead_letter_topic(), &config.inventory_topic()])
        .chain(&config.findings_topic())
        .chain([&config.topics.alerts])
    {
        if *topic == config.topics.alerts && !config.alerts_to_topic() {
            continue;
        }
        match cluster.partitions(topic) {
            Ok(Some(n)) => println!("topic {topic}: {n} partitions"),
            Ok(None) if config.topics.create => println!("topic {topic}: missing, will be made"),
            Ok(None) => faults.push(format!(
                "topic {topic} is missing; make it, or set topics.create"
            )),
            Err(error) => {
                faults.push(error.to_string());
                break;
            }
        }
    }
    faults
}

/// The rules that are blind on a source because its format lacks what they need.
fn coverage(config: &Config, rules: &RuleSet) -> Vec<String> {
    let mut lines = hidden(config, rules);
    for source in &config.sources {
        if let Some(mapping) = config.mapping.get(&source.format) {
            // One that is wrong is told among the faults.
            let compiled = Mapping::compile(&source.format, mapping).ok();
            let blind = compiled.map(|mapping| blind_by_mapping(rules, &mapping));
            lines.extend(blind.into_iter().flatten().map(|(rule, lacks)| {
                let (topic, name, lacks) = (&source.topic, &source.format, lacks.join(", "));
                format!("source {topic}: rule {rule} is blind, mapping {name} has no field that tells {lacks}")
            }));
            continue;
        }
        let Ok(format) = source.format.parse::<Format>() else {
            continue;
        };
        if format == Format::Auto {
            lines.push(format!(
                "source {}: format is detected, coverage is known when it runs",
                source.topic
            ));
            continue;
        }
        let name = format.to_string();
        let Some((_, has, _)) = formats().into_iter().find(|(known, _, _)| *known == name) else {
            continue;
        };
        lines.extend(blind(&source.topic, &name, &has, rules));
    }
    lines
}

/// The rules that the options themselves make blind: what they need is dropped, or in no file.
fn hidden(config: &Config, rules: &RuleSet) -> Vec<String> {
    let is_dropped = |column: &str| config.privacy.drop.iter().any(|drop| drop == column);
    let is_unknown = |column: &str| {
        config.enrich.files.is_empty() && ["country", "asn", "as_org"].contains(&column)
    };
    let mut lines = Vec::new();
    for rule in &rules.rules {
        let name = &rule.header.name;
        let dropped = rule.blind_on(|column| !is_dropped(column)).join(", ");
        if !dropped.is_empty() {
            lines.push(format!("rule {name} is blind: privacy.drop has {dropped}"));
        }
        let unknown = rule.blind_on(|column| !is_unknown(column)).join(", ");
        if !unknown.is_empty() {
            lines.push(format!(
                "rule {name} is blind: {unknown} come from enrich.files, which is empty"
            ));
        }
    }
    lines
}

/// The rules that see nothing on one source: never, or until the gateway is configured to log more.
fn blind(topic: &str, format: &str, has: &Capabilities, rules: &RuleSet) -> Vec<String> {
    let mut lines = Vec::new();
    for rule in &rules.rules {
        let name = &rule.header.name;
        let (never, unless) = missing(rule, has);
        if !never.is_empty() {
            let never = never.join(", ");
            lines.push(format!(
                "source {topic}: rule {name} is blind, {format} logs never hold {never}"
            ));
        } else if !unless.is_empty() {
            let unless = unless.join(", ");
            lines.push(format!("source {topic}: rule {name} is blind unless the gateway is configured to log {unless}; docs/formats.md says how"));
        }
    }
    lines
}

/// The rules that see nothing of what a mapping gives, with the columns they lack.
pub(super) fn blind_by_mapping(rules: &RuleSet, mapping: &Mapping) -> Vec<(String, Vec<String>)> {
    let lacks = rules.rules.iter().map(|rule| {
        let lacks = rule.blind_on(|column| mapping.holds(column));
        (rule.header.name.clone(), lacks)
    });
    lacks.filter(|(_, lacks)| !lacks.is_empty()).collect()
}

/// The columns a rule requires that a format never holds, and those it holds when the gateway is configured to.
pub(super) fn missing(rule: &Rule, has: &Capabilities) -> (Vec<String>, Vec<String>) {
    let lacking = |presence_then| rule.blind_on(|column| presence(has, column) != presence_then);
    (lacking(Presence::Never), lacking(Presence::Configured))
}

/// Whether a format's records hold what a column is made from. A column that is not listed is made from every call.
pub(super) fn presence(has: &Capabilities, column: &str) -> Presence {
    match column {
        "identity" | "authenticated" | "auth_scheme" | "actor" | "tenant" => has.identity,
        "scheme" => has.scheme,
        "host" => has.host,
        "object" | "object_number" | "path" | "query" | "object_new" | "objects_seen"
        | "url_secret" | "probe_class" => has.raw_path,
        "response_bytes" | "response_bytes_quantile" => has.response_bytes,
        "tls_version" => has.tls_version,
        "origin" | "method_override" | "request_content_type" => has.request_headers,
        "allow_origin"
        | "allow_credentials"
        | "server"
        | "powered_by"
        | "response_content_type"
        | "answer" => has.response_headers,
        header if ANSWERED.contains(&header) => has.response_headers,
        "upstream_scheme" => has.upstream_scheme,
        "rpc_method" | "tool" => has.body,
        _ => Presence::Always,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    /// Rules that are blind on a format: always, or until it is configured.
    fn blind_rules(format: &str) -> (Vec<String>, Vec<String>) {
        let (name, has, _) = formats()
            .into_iter()
            .find(|(n, _, _)| *n == format)
            .unwrap();
        let lines = blind("logs", name, &has, &RuleSet::shipped());
        let rule = |line: &String| line.split(' ').nth(3).unwrap().to_owned();
        let (never, unless): (Vec<_>, Vec<_>) =
            lines.iter().partition(|line| line.contains("never hold"));
        (
            never.into_iter().map(rule).collect(),
            unless.into_iter().map(rule).collect(),
        )
    }

    #[test]
    fn what_a_format_never_holds_is_told_apart_from_what_is_not_configured() {
        assert_eq!(blind_rules("kong"), (vec![], vec![]));
        let (never, unless) = blind_rules("combined");
        assert_eq!(
            never,
            [
                "posture_cors_any_origin",
                "posture_plaintext_http",
                "posture_server_banner"
            ]
        );
        assert!(
            unless.contains(&"bola_enumeration".to_owned()),
            "{unless:?}"
        );
        let (never, unless) = blind_rules("envoy");
        assert!(never.is_empty(), "{never:?}");
        for rule in [
            "bola_enumeration",
            "posture_plaintext_http",
            "posture_server_banner",
        ] {
            assert!(unless.contains(&rule.to_owned()), "{rule} in {unless:?}");
        }
    }

    #[test]
    fn what_the_options_take_from_rules_is_told() {
        let config = |text: &str| Config::parse(text).unwrap();
        let told = |text: &str| hidden(&config(text), &RuleSet::shipped());
        assert!(told("[privacy]\ndrop = ['user_agent', 'query']\n").is_empty());
        let lines = told("[privacy]\ndrop = ['origin', 'referer']\n");
        assert_eq!(
            lines,
            ["rule posture_cors_any_origin is blind: privacy.drop has origin"]
        );
        let rule = "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10\nname: r\nversion: 1\ntitle: t\nstatus: stable\nseverity: low\ndescription: d\nrequires: [country, asn, identity]\n---*/\nSELECT identity FROM events WHERE country <> 'DE'";
        let rules = RuleSet {
            rules: vec![Arc::new(Rule::parse(Path::new("r.sql"), rule).unwrap())],
            ..RuleSet::shipped()
        };
        assert_eq!(
            hidden(&Config::default(), &rules),
            ["rule r is blind: country, asn come from enrich.files, which is empty"]
        );
        let given = config("[enrich]\nfiles = ['countries.mmdb']\n");
        assert!(hidden(&given, &rules).is_empty());
    }

    /// What each format says, and the shipped rules that are blind on it, as a table of Markdown.
    fn coverage_page() -> String {
        const COLUMNS: [&str; 11] = [
            "identity",
            "scheme",
            "host",
            "raw path",
            "template",
            "response bytes",
            "TLS version",
            "scheme behind",
            "request headers",
            "response headers",
            "body",
        ];
        let mark = |presence| match presence {
            Presence::Always => "yes",
            Presence::Configured => "if configured",
            Presence::Never => "no",
        };
        let rules = |names: Vec<String>| match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        let mut page = format!(
            "| format | {} | always blind | blind until configured |\n",
            COLUMNS.join(" | ")
        );
        page += &format!("|---|{}---|---|\n", "---|".repeat(COLUMNS.len()));
        for (name, has, _) in formats() {
            let Capabilities {
                identity,
                scheme,
                host,
                raw_path,
                template,
                response_bytes,
                tls_version,
                upstream_scheme,
                request_headers,
                response_headers,
                body,
            } = has;
            let cells = [
                identity,
                scheme,
                host,
                raw_path,
                template,
                response_bytes,
                tls_version,
                upstream_scheme,
                request_headers,
                response_headers,
                body,
            ];
            let (never, unless) = blind_rules(name);
            let cells = cells.map(mark).join(" | ");
            page += &format!(
                "| `{name}` | {cells} | {} | {} |\n",
                rules(never),
                rules(unless)
            );
        }
        page
    }

    #[test]
    fn the_documentation_says_what_formats_hold_and_which_rules_are_blind() {
        const MARKS: [&str; 2] = ["<!-- generated -->\n", "<!-- end -->"];
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/formats.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (head, rest) = text.split_once(MARKS[0]).unwrap();
        let (_, tail) = rest.split_once(MARKS[1]).unwrap();
        let wanted = format!("{head}{}{}{}{tail}", MARKS[0], coverage_page(), MARKS[1]);
        if std::env::var_os("TOLLWATCH_WRITE_DOCS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        assert!(
            text == wanted,
            "docs/formats.md is not what the code says; run the test with TOLLWATCH_WRITE_DOCS=1"
        );
    }
}
