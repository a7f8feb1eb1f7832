//! A finding as an OCSF 1.8.0 Compliance Finding (class 2003), for the findings topic.
//!
//! | field | of the finding |
//! |---|---|
//! | `finding_info.uid` | its name: the same for all its life, so that a reader keeps one document of it |
//! | `metadata.uid` | name, event time of the change and which change: of this record, to drop what came twice |
//! | `activity_id` | opened 1 (create); resolved 3 (close); every other change 2 (update) |
//! | `status_id`, `compliance.status_id` | open 1 (new), 3 (fail); resolved 4, 1 (pass); stale 99, 0 (unknown) |
//! | `compliance.{control, standards, requirements}` | where the kind of finding stands ([`models::compliance`]) |
//! | `resources[0]` | what it is about; a host is named `* host /**`, as the inventory calls all that is asked for of it |
//! | `evidences[]` | calls that showed it: the first two, and of those after them the first of the latest ten seconds that had one |
//! | `unmapped.tollwatch` | change, phase, counts, rate, reasons |

use models::compliance::{CAVEAT, Standards, find};
use models::posture::{Change, Finding, Phase, Sample, Scope, Told};
use models::spread::PROBE_SPREAD;
use serde_json::{Value, json};

use crate::alert::{clean, position, sample};
use crate::rule::Evidence;

/// Frameworks that name weaknesses and techniques, which nobody has to comply with.
const CATALOGUES: [&str; 2] = ["CWE", "ATT&CK"];
/// Frameworks whose ids tell where they are from.
const PLAIN_IDS: [&str; 3] = ["OWASP API", "OWASP Agentic", "OWASP MCP"];

/// The record of a finding that changed.
pub(super) fn finding(told: &Told) -> Value {
    let Finding {
        uid,
        subject,
        life,
        n_identities,
        samples,
        owner,
        ..
    } = &told.finding;
    let check = told.check;
    let subject = clean(subject);
    let title = format!("{}: {subject}", check.title);
    let (activity_id, activity) = match told.change {
        Change::Opened => (1, "Create"),
        Change::Resolved => (3, "Close"),
        Change::Grew | Change::StillSeen | Change::Stale | Change::Regressed => (2, "Update"),
    };
    let (status_id, status, passed_id, passed) = match life.phase {
        Phase::Resolved => (4, "Resolved", 1, "Pass"),
        Phase::Stale => (99, "Stale", 0, "Unknown"),
        Phase::Quiet | Phase::Candidate | Phase::Open => (1, "New", 3, "Fail"),
    };
    let severity_id = check.severity as u8 + 1;
    let standards = find(check.finding);
    let requirements = standards.map(requirements).unwrap_or_default();
    let frameworks: Vec<&str> = standards
        .into_iter()
        .flat_map(Standards::by_framework)
        .map(|(framework, _)| framework)
        .filter(|framework| !CATALOGUES.contains(framework))
        .collect();
    let evidences: Vec<Evidence> = samples.iter().map(|one| evidence(one, told)).collect();
    let (window, (rate_low, rate_high)) = (life.window(), life.rate());
    let (contrary, contrary_needed) = life.contrary();
    let first_ms = match life.first_ms {
        0 => told.at_ms,
        first_ms => first_ms,
    };
    let mut resource =
        json!({ "uid": clean(&endpoint(told)), "name": subject, "type": kind(check.scope) });
    if let Some(owner) = owner {
        resource["owner"] = json!({ "name": clean(owner) });
    }
    let mut record = json!({
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2003,
        "class_name": "Compliance Finding",
        "type_uid": 200_300 + activity_id,
        "time": told.at_ms,
        "severity_id": severity_id,
        "status_id": status_id,
        "status": status,
        "status_detail": told.change.as_str(),
        "message": title,
        "metadata": {
            "version": "1.8.0",
            "uid": format!("{uid}-{}-{}", told.at_ms, told.change as u8 + 1),
            "event_code": check.id,
            "product": { "name": "tollwatch", "vendor_name": "tollwatch", "version": env!("CARGO_PKG_VERSION") },
        },
        "finding_info": {
            "uid": uid,
            "title": title,
            "desc": format!("Shown by {}. Contrary: {}.", check.bad, check.contrary),
            "analytic": { "uid": check.id, "name": check.title, "type_id": 1 },
            "first_seen_time": first_ms,
            "last_seen_time": life.last_ms.max(first_ms),
        },
        "compliance": {
            "control": requirements.first().map_or(check.title, String::as_str),
            "standards": frameworks,
            "requirements": requirements,
            "status_id": passed_id,
            "status": passed,
            "checks": [{ "uid": check.id, "name": check.title, "status_id": passed_id, "status": passed }],
        },
        "remediation": { "desc": check.remedy },
        "resources": [resource],
        "evidences": evidences.iter().map(sample).collect::<Vec<_>>(),
        "unmapped": { "tollwatch": {
            "change": told.change.as_str(), "phase": life.phase.as_str(), "changed_ms": life.changed_ms,
            "scope": check.scope.as_str(), "tier": check.tier.as_str(),
            "bad": window.bad, "of": window.of, "rate_low": rate_low, "rate_high": rate_high,
            "contrary": contrary, "contrary_needed": contrary_needed,
            "identities": n_identities, "regressed": life.n_regressed,
            "reasons": reasons(told),
            "tags": standards.map(tags).unwrap_or_default(),
            "caveat": CAVEAT,
        } },
    });
    if let Some(latest) = evidences.last() {
        record["unmapped"]["tollwatch"]["position"] = position(latest);
    }
    if check.scope == Scope::Identity {
        record["actor"] = json!({ "user": { "uid": subject } });
    }
    record
}

/// What it is about, in the words of the inventory.
fn endpoint(told: &Told) -> String {
    match told.check.scope {
        Scope::Host => format!("* {} /**", told.finding.subject),
        Scope::Endpoint | Scope::Identity | Scope::Source => told.finding.subject.clone(),
    }
}

fn kind(scope: Scope) -> &'static str {
    match scope {
        Scope::Endpoint => "api_endpoint",
        Scope::Host => "api_host",
        Scope::Identity => "identity",
        Scope::Source => "log_source",
    }
}

/// What stands in standards of the finding; ids that don't tell their framework with it in front.
fn requirements(standards: &Standards) -> Vec<String> {
    let of = |(framework, ids): (&'static str, &'static [&'static str])| {
        let is_plain = PLAIN_IDS.contains(&framework);
        let name = move |id: &&str| match is_plain {
            true => (*id).to_owned(),
            false => format!("{framework} {id}"),
        };
        ids.iter().map(name)
    };
    let known = standards.by_framework();
    let known = known.filter(|(framework, _)| !CATALOGUES.contains(framework));
    known.flat_map(of).collect()
}

/// Tags in the manner of rules: `owasp.api2-2023`, `cwe.306`, `attack.t1190`.
fn tags(standards: &Standards) -> Vec<String> {
    let tag = |prefix: &str, id: &str| format!("{prefix}.{}", id.to_lowercase().replace(':', "-"));
    let owasp = standards.owasp_api.iter().map(|id| tag("owasp", id));
    let cwe = standards.cwe.iter();
    let cwe = cwe.map(|id| tag("cwe", id.trim_start_matches("CWE-")));
    let attack = standards.attack.iter().map(|id| tag("attack", id));
    owasp.chain(cwe).chain(attack).collect()
}

/// A call that showed it, taken apart: `METHOD /path status`, of which a long path leaves no status.
fn evidence(sample: &Sample, told: &Told) -> Evidence {
    let (method, rest) = sample.call.split_once(' ').unwrap_or(("", &sample.call));
    // Where the log has no status it is told as 0.
    let is_status = |(_, text): &(&str, &str)| *text == "0" || text.len() == 3;
    let ends = rest.rsplit_once(' ').filter(is_status);
    let ends = ends.and_then(|(path, status)| Some((path, status.parse::<i32>().ok()?)));
    let (path, status) = ends.map_or((rest, None), |(path, status)| (path, Some(status)));
    Evidence {
        time_ms: sample.at_ms,
        topic: sample.topic.clone(),
        partition: sample.partition,
        offset: sample.offset,
        row: sample.row,
        method: method.to_owned(),
        path: path.to_owned(),
        endpoint: endpoint(told),
        status: status.filter(|status| *status != 0),
        identity: sample.identity.clone(),
        ..Evidence::default()
    }
}

/// Why it is told now. Each sentence is true of the record it stands in.
fn reasons(told: &Told) -> Vec<String> {
    let Finding {
        life, n_identities, ..
    } = &told.finding;
    let mut reasons = vec![match told.change {
        Change::Opened => "the test of the check holds, for the first time".to_owned(),
        Change::Grew => "it was shown ten times as often as when it was last told".to_owned(),
        Change::StillSeen => "it was shown again this day".to_owned(),
        Change::Stale => "no call could have shown it for a week: nothing is known".to_owned(),
        Change::Resolved => format!(
            "{} calls in a row could have shown it and did not",
            life.contrary().0
        ),
        Change::Regressed => format!(
            "the test of the check holds again, over calls since it was resolved; it came back {} times",
            life.n_regressed
        ),
    }];
    let (window, (low, high)) = (life.window(), life.rate());
    // What is counted of spread probing is how often it was told, not calls.
    if 0 < window.of && told.check.id != PROBE_SPREAD.id {
        reasons.push(format!(
            "{} of {} calls that could have shown it did: {:.1} to {:.1} % with 95 % certainty",
            window.bad,
            window.of,
            100.0 * low,
            100.0 * high
        ));
    }
    if 0 < *n_identities {
        reasons.push(format!("shown by about {n_identities} callers"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use models::posture::CHECKS;

    use super::*;

    fn told(check: usize, change: Change, phase: Phase) -> Told {
        let check = CHECKS[check - 1];
        let mut finding = Finding::new(check, "GET h\u{202e} /a\n{id}");
        finding.life.phase = phase;
        (finding.life.first_ms, finding.life.last_ms) = (1_000, 2_000);
        let sample = Sample::new(2_000, ("t", 1, 7, 0), "GET /a b?c 200", "ann");
        finding.samples.keep(sample);
        Told {
            finding,
            check,
            change,
            at_ms: 60_000,
        }
    }

    #[test]
    fn a_record_says_what_became_of_the_finding_and_keeps_its_name() {
        let mut ids = Vec::new();
        for (change, phase, activity, status, passed) in [
            (Change::Opened, Phase::Open, 1, 1, 3),
            (Change::Grew, Phase::Open, 2, 1, 3),
            (Change::StillSeen, Phase::Open, 2, 1, 3),
            (Change::Stale, Phase::Stale, 2, 99, 0),
            (Change::Resolved, Phase::Resolved, 3, 4, 1),
            (Change::Regressed, Phase::Open, 2, 1, 3),
        ] {
            let told = told(1, change, phase);
            let record = finding(&told);
            let found = ["activity_id", "status_id"].map(|field| record[field].as_i64());
            assert_eq!(found, [Some(activity), Some(status)], "{change:?}");
            assert_eq!(record["compliance"]["status_id"], passed, "{change:?}");
            assert_eq!(record["type_uid"], 200_300 + activity);
            assert_eq!(record["finding_info"]["uid"], *told.finding.uid);
            let id = record["metadata"]["uid"].as_str().expect("a text");
            // As long as CEF's field for it.
            assert!(id.len() <= 40, "{id}");
            ids.push(id.to_owned());
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 6, "each change has an id of its own");
    }

    #[test]
    fn a_call_is_taken_apart_and_texts_are_clean() {
        let taken = |call: &str| {
            let one = Sample::new(1, ("t", 0, 1, 0), call, "x");
            let one = evidence(&one, &told(1, Change::Opened, Phase::Open));
            (one.method, one.path, one.status)
        };
        let of = |method: &str, path: &str, status| (method.to_owned(), path.to_owned(), status);
        assert_eq!(taken("GET /a 0"), of("GET", "/a", None));
        assert_eq!(taken("GET /a b 20"), of("GET", "/a b 20", None));
        assert_eq!(taken("GET"), of("", "GET", None));
        let record = finding(&told(1, Change::Opened, Phase::Open));
        let call = &record["evidences"][0];
        assert_eq!(call["url"]["path"], "/a b?c");
        assert_eq!(call["http_response"]["code"], 200);
        assert_eq!(call["actor"]["user"]["uid"], "ann");
        assert_eq!(
            call["data"]["position"],
            record["unmapped"]["tollwatch"]["position"]
        );
        let all = record.to_string();
        assert!(!all.contains('\u{202e}') && !all.contains("\\n"), "{all}");
    }

    #[test]
    fn ids_of_standards_tell_which() {
        let standards = find("auth_missing_on_endpoint").expect("known");
        let requirements = requirements(standards);
        assert!(requirements.contains(&"API2:2023".to_owned()));
        assert!(requirements.contains(&"PCI DSS 4.0 8.3.1".to_owned()));
        assert_eq!(
            tags(standards),
            ["owasp.api2-2023", "cwe.306", "attack.t1190"]
        );
    }
}
