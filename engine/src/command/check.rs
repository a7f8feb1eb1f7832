//! `check`: configuration, rules, topics and formats; every fault at once.

use connectors::format::{Format, formats};

use super::run::RunArgs;
use super::{Failure, load_rules, rules};
use crate::config::Config;
use crate::log::Log;
use crate::rule::RuleSet;
use crate::service::cluster;

/// Runs the command: prints every fault and what each rule is blind to; 1 when there is a fault.
///
/// # Errors
/// The configuration file can't be read.
pub fn run(args: &RunArgs) -> Result<u8, Failure> {
    let config = args.config()?;
    let mut faults = config.faults();
    match load_rules(config.rules.as_deref()) {
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
    if !config.brokers.is_empty() {
        faults.extend(topics(&config));
    }
    faults.iter().for_each(|fault| eprintln!("fault: {fault}"));
    if faults.is_empty() {
        println!("no faults");
    }
    Ok(u8::from(!faults.is_empty()))
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
        .chain([&config.dead_letter_topic(), &config.topics.alerts])
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
    let mut lines = Vec::new();
    for source in &config.sources {
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
        let present = |column: &str| match column {
            "identity" => has.identity,
            "object" | "path" | "object_new" => has.raw_path,
            "response_bytes" | "response_bytes_quantile" => has.response_bytes,
            "origin" | "method_override" => has.request_headers,
            "allow_origin" | "allow_credentials" | "server" | "powered_by" => has.response_headers,
            _ => true,
        };
        for rule in &rules.rules {
            let blind = rule.blind_on(present);
            if !blind.is_empty() {
                let (rule, blind) = (&rule.header.name, blind.join(", "));
                lines.push(format!("source {}: rule {rule} is blind by default, {name} logs lack {blind}; docs/formats.md says how to turn it on", source.topic));
            }
        }
    }
    lines
}
