//! Readiness: thirty questions that measurements answer. The bounds are our proposals, not a standard's.

use std::fmt::Write as _;

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Knowing the APIs.
    Discovery,
    /// Keeping them in order.
    Governance,
    /// Agents and MCP.
    Ai,
    /// Seeing attacks.
    Threat,
}

impl Area {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Area::Discovery => "discovery",
            Area::Governance => "governance",
            Area::Ai => "ai",
            Area::Threat => "threat",
        }
    }
}

/// How a measure is judged: at `pass` and better it passes, at `warn` and better it warns.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// More is better.
    AtLeast {
        /// From here on it passes.
        pass: f64,
        /// From here on it warns.
        warn: f64,
    },
    /// Less is better.
    AtMost {
        /// Up to here it passes.
        pass: f64,
        /// Up to here it warns.
        warn: f64,
    },
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Good.
    Pass,
    /// Nearly.
    Warn,
    /// Not.
    Fail,
    /// Nothing measures it here; never counts as passed.
    NotMeasurable,
}

/// All answers, best first.
pub const ANSWERS: [Answer; 4] = [
    Answer::Pass,
    Answer::Warn,
    Answer::Fail,
    Answer::NotMeasurable,
];

impl Answer {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Answer::Pass => "pass",
            Answer::Warn => "warn",
            Answer::Fail => "fail",
            Answer::NotMeasurable => "not measurable",
        }
    }

    /// Share of the question's point: what can't be measured earns none, and is told beside the score.
    pub fn points(self) -> f64 {
        match self {
            Answer::Pass => 1.0,
            Answer::Warn => 0.5,
            Answer::Fail | Answer::NotMeasurable => 0.0,
        }
    }
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Its name; never changed.
    pub id: &'static str,
    /// What it is about.
    pub area: Area,
    /// The question.
    pub text: &'static str,
    /// What is measured.
    pub measure: &'static str,
    /// Unit of the measure.
    pub unit: &'static str,
    /// How it is judged.
    pub bound: Bound,
    /// Where the evidence lies.
    pub evidence: &'static str,
}

/// Judges what was measured; nothing, or no number, is not measurable.
pub fn judge(question: &Question, measured: Option<f64>) -> Answer {
    let Some(value) = measured.filter(|value| !value.is_nan()) else {
        return Answer::NotMeasurable;
    };
    let (passes, warns) = match question.bound {
        Bound::AtLeast { pass, warn } => (pass <= value, warn <= value),
        Bound::AtMost { pass, warn } => (value <= pass, value <= warn),
    };
    match (passes, warns) {
        (true, _) => Answer::Pass,
        (_, true) => Answer::Warn,
        _ => Answer::Fail,
    }
}

/// The questions as a Markdown table.
pub fn readiness_page() -> String {
    let mut page = String::from(
        "| id | area | question | measure | pass | warn | evidence |\n|---|---|---|---|---|---|---|\n",
    );
    for question in &QUESTIONS {
        let (sign, pass, warn) = match question.bound {
            Bound::AtLeast { pass, warn } => (">=", pass, warn),
            Bound::AtMost { pass, warn } => ("<=", pass, warn),
        };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} ({}) | {sign} {pass} | {sign} {warn} | {} |",
            question.id,
            question.area.as_str(),
            question.text,
            question.measure,
            question.unit,
            question.evidence,
        );
    }
    page
}

/// The questions.
pub static QUESTIONS: [Question; 30] = [
    Question {
        id: "D1",
        area: Area::Discovery,
        text: "Do we see all gateways?",
        measure: "gateways that sent a record in five minutes, of those configured",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 1.0,
            warn: 0.95,
        },
        evidence: "log_gap findings",
    },
    Question {
        id: "D2",
        area: Area::Discovery,
        text: "How much of the log do we read?",
        measure: "rows decoded, of rows read",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 0.999,
            warn: 0.99,
        },
        evidence: "dead letters",
    },
    Question {
        id: "D3",
        area: Area::Discovery,
        text: "Is every call tied to an endpoint?",
        measure: "rows with a template, of rows",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 0.995,
            warn: 0.98,
        },
        evidence: "inventory",
    },
    Question {
        id: "D4",
        area: Area::Discovery,
        text: "How many endpoints are undocumented?",
        measure: "endpoints in no document, of endpoints seen",
        unit: "share",
        bound: Bound::AtMost {
            pass: 0.02,
            warn: 0.1,
        },
        evidence: "shadow_endpoint findings",
    },
    Question {
        id: "D5",
        area: Area::Discovery,
        text: "How much traffic is undocumented?",
        measure: "calls to such endpoints, of calls",
        unit: "share",
        bound: Bound::AtMost {
            pass: 0.005,
            warn: 0.02,
        },
        evidence: "shadow_endpoint findings",
    },
    Question {
        id: "D6",
        area: Area::Discovery,
        text: "Which documented endpoints are dead?",
        measure: "documented endpoints without a call in 30 days, of documented ones",
        unit: "share",
        bound: Bound::AtMost {
            pass: 0.1,
            warn: 0.25,
        },
        evidence: "zombie_endpoint findings",
    },
    Question {
        id: "D7",
        area: Area::Discovery,
        text: "How fast is a new endpoint known?",
        measure: "95th percentile of first call to inventory",
        unit: "s",
        bound: Bound::AtMost {
            pass: 60.0,
            warn: 900.0,
        },
        evidence: "inventory",
    },
    Question {
        id: "D8",
        area: Area::Discovery,
        text: "How fast are the APIs of ten new agents known?",
        measure: "95th percentile over agents, from the last first use to all endpoints listed",
        unit: "s",
        bound: Bound::AtMost {
            pass: 300.0,
            warn: 3600.0,
        },
        evidence: "the agents drill",
    },
    Question {
        id: "D9",
        area: Area::Discovery,
        text: "Does each endpoint have an owner?",
        measure: "endpoints with an owner's label, of endpoints",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 0.95,
            warn: 0.8,
        },
        evidence: "inventory",
    },
    Question {
        id: "G1",
        area: Area::Governance,
        text: "Who calls us?",
        measure: "calls with an identity stronger than an address, of calls to routes that are not public",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 0.98,
            warn: 0.9,
        },
        evidence: "grade of the identity",
    },
    Question {
        id: "G2",
        area: Area::Governance,
        text: "Are endpoints open that should not be?",
        measure: "endpoints with anonymous successes where 95 in 100 calls carry credentials",
        unit: "endpoints",
        bound: Bound::AtMost {
            pass: 0.0,
            warn: 3.0,
        },
        evidence: "auth_missing_on_endpoint findings",
    },
    Question {
        id: "G3",
        area: Area::Governance,
        text: "Is TLS modern?",
        measure: "calls over TLS 1.2 and later, of calls whose TLS is known",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 1.0,
            warn: 0.999,
        },
        evidence: "tls_version",
    },
    Question {
        id: "G4",
        area: Area::Governance,
        text: "Are secrets kept out of URLs?",
        measure: "calls whose URL holds a secret, of calls",
        unit: "share",
        bound: Bound::AtMost {
            pass: 0.0,
            warn: 1e-06,
        },
        evidence: "secret_in_url findings",
    },
    Question {
        id: "G5",
        area: Area::Governance,
        text: "Is CORS tight?",
        measure: "hosts that let any origin in with credentials",
        unit: "hosts",
        bound: Bound::AtMost {
            pass: 0.0,
            warn: 1.0,
        },
        evidence: "cors_any_origin_credentials findings",
    },
    Question {
        id: "G6",
        area: Area::Governance,
        text: "Do contracts match traffic?",
        measure: "endpoints that drift from their document, of documented ones",
        unit: "share",
        bound: Bound::AtMost {
            pass: 0.05,
            warn: 0.15,
        },
        evidence: "spec_drift findings",
    },
    Question {
        id: "G7",
        area: Area::Governance,
        text: "How long do posture findings stay open?",
        measure: "median age of open findings of high severity",
        unit: "days",
        bound: Bound::AtMost {
            pass: 14.0,
            warn: 30.0,
        },
        evidence: "lives of findings",
    },
    Question {
        id: "G8",
        area: Area::Governance,
        text: "Are exceptions governed?",
        measure: "exceptions with reason, owner and a date not past, of exceptions",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 1.0,
            warn: 0.95,
        },
        evidence: "rule files",
    },
    Question {
        id: "G9",
        area: Area::Governance,
        text: "Is the evidence kept?",
        measure: "days that alerts and inventory are kept (180: EU AI Act 26(6); PCI DSS 10.5.1 asks for 365)",
        unit: "days",
        bound: Bound::AtLeast {
            pass: 180.0,
            warn: 90.0,
        },
        evidence: "retention of the topics",
    },
    Question {
        id: "A1",
        area: Area::Ai,
        text: "Do we know our AI agents?",
        measure: "agents with an owner, of agents",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 0.95,
            warn: 0.8,
        },
        evidence: "agents",
    },
    Question {
        id: "A2",
        area: Area::Ai,
        text: "Do agents identify themselves?",
        measure: "agents' calls with a stable id (client, verified signature), of agents' calls",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 0.95,
            warn: 0.8,
        },
        evidence: "grade of the agent",
    },
    Question {
        id: "A3",
        area: Area::Ai,
        text: "Are there unknown MCP servers?",
        measure: "hosts with marks of MCP that are not registered",
        unit: "hosts",
        bound: Bound::AtMost {
            pass: 0.0,
            warn: 1.0,
        },
        evidence: "shadow_mcp_server findings",
    },
    Question {
        id: "A4",
        area: Area::Ai,
        text: "Do agents keep to their scope?",
        measure: "agents on endpoints outside their declared or 30-day set, of agents",
        unit: "share",
        bound: Bound::AtMost {
            pass: 0.05,
            warn: 0.15,
        },
        evidence: "ai_agent_scope_growth findings",
    },
    Question {
        id: "A5",
        area: Area::Ai,
        text: "Are MCP servers behind authentication?",
        measure: "MCP calls answered 2xx without an identity, of MCP calls",
        unit: "share",
        bound: Bound::AtMost {
            pass: 0.0,
            warn: 0.001,
        },
        evidence: "mcp_unauthenticated findings",
    },
    Question {
        id: "T1",
        area: Area::Threat,
        text: "How fast do we alert?",
        measure: "95th percentile of the event's time to the alert",
        unit: "s",
        bound: Bound::AtMost {
            pass: 5.0,
            warn: 60.0,
        },
        evidence: "latency histogram",
    },
    Question {
        id: "T2",
        area: Area::Threat,
        text: "Are we keeping up?",
        measure: "99th percentile of the consumers' lag",
        unit: "s",
        bound: Bound::AtMost {
            pass: 10.0,
            warn: 60.0,
        },
        evidence: "lag metric",
    },
    Question {
        id: "T3",
        area: Area::Threat,
        text: "Do the rules work today?",
        measure: "rules whose tests pass and whose columns are there, of rules",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 1.0,
            warn: 0.95,
        },
        evidence: "rules test, coverage",
    },
    Question {
        id: "T4",
        area: Area::Threat,
        text: "How much of the API is watched?",
        measure: "endpoints of callers with an identity whose baseline is warm, of such endpoints",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 0.9,
            warn: 0.7,
        },
        evidence: "maturity",
    },
    Question {
        id: "T5",
        area: Area::Threat,
        text: "Are alerts usable?",
        measure: "alerts a million calls",
        unit: "alerts",
        bound: Bound::AtMost {
            pass: 5.0,
            warn: 20.0,
        },
        evidence: "alerts topic",
    },
    Question {
        id: "T6",
        area: Area::Threat,
        text: "Are alerts right?",
        measure: "true ones of those an analyst judged",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 0.5,
            warn: 0.3,
        },
        evidence: "verdicts fed back",
    },
    Question {
        id: "T7",
        area: Area::Threat,
        text: "Would an attack be caught?",
        measure: "recall of a labelled replay at today's threshold",
        unit: "share",
        bound: Bound::AtLeast {
            pass: 0.95,
            warn: 0.8,
        },
        evidence: "eval",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_can_pass_warn_fail_and_be_unmeasurable() {
        for question in &QUESTIONS {
            let (pass, warn, fail) = match question.bound {
                Bound::AtLeast { pass, warn } => (pass, warn, warn.next_down()),
                Bound::AtMost { pass, warn } => (pass, warn, warn.next_up()),
            };
            assert_ne!(pass, warn, "{}", question.id);
            let answers =
                [Some(pass), Some(warn), Some(fail), None].map(|value| judge(question, value));
            assert_eq!(answers, ANSWERS, "{}", question.id);
            assert_eq!(judge(question, Some(f64::NAN)), Answer::NotMeasurable);
        }
        assert_eq!(Answer::NotMeasurable.points(), 0.0);
    }
}
