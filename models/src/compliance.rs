//! Findings in the words of standards, and the questions of readiness. Data, in our own words; ids are facts.
//!
//! An API log is **supporting evidence**: it shows how a control worked on the calls that were logged. It does not show that a
//! control exists, covers everything, or is enough, and it is not the log of an AI system that the EU AI Act asks for.
//! CWE and ATT&CK ids are from memory of their catalogues, the others were looked up in published lists; check what you cite.

mod map;
mod readiness;

pub use map::STANDARDS;
pub use readiness::{ANSWERS, Answer, Area, Bound, QUESTIONS, Question, judge, readiness_page};

/// What every report that names a control says.
pub const CAVEAT: &str = "An API log is supporting evidence: it shows how a control worked on the calls that were logged, \
not that the control exists, covers everything or is enough. It is not the log of an AI system in the sense of the EU AI Act.";

/// Where a kind of finding stands in the standards; empty where none fits.
#[derive(Clone, Copy, Debug)]
pub struct Standards {
    /// Kind of finding.
    pub finding: &'static str,
    /// OWASP API Security Top 10, 2023.
    pub owasp_api: &'static [&'static str],
    /// CWE.
    pub cwe: &'static [&'static str],
    /// MITRE ATT&CK.
    pub attack: &'static [&'static str],
    /// PCI DSS 4.0.
    pub pci_dss: &'static [&'static str],
    /// NIST Cybersecurity Framework 2.0.
    pub nist_csf: &'static [&'static str],
    /// EU AI Act (2024/1689), article.
    pub eu_ai_act: &'static [&'static str],
    /// ISO/IEC 42001, Annex A.
    pub iso_42001: &'static [&'static str],
    /// DORA (2022/2554), article.
    pub dora: &'static [&'static str],
    /// OWASP Top 10 for Agentic Applications, 2026.
    pub owasp_agentic: &'static [&'static str],
    /// OWASP MCP Top 10, 2025.
    pub owasp_mcp: &'static [&'static str],
}

impl Standards {
    /// Framework and ids, in the order of the columns; frameworks without one are left out.
    pub fn by_framework(&self) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
        let all = [
            ("OWASP API", self.owasp_api),
            ("CWE", self.cwe),
            ("ATT&CK", self.attack),
            ("PCI DSS 4.0", self.pci_dss),
            ("NIST CSF 2.0", self.nist_csf),
            ("EU AI Act", self.eu_ai_act),
            ("ISO/IEC 42001", self.iso_42001),
            ("DORA", self.dora),
            ("OWASP Agentic", self.owasp_agentic),
            ("OWASP MCP", self.owasp_mcp),
        ];
        all.into_iter().filter(|(_, ids)| !ids.is_empty())
    }

    /// All of it on a line; ids that tell their framework stand alone.
    pub fn line(&self) -> String {
        let part = |(framework, ids): (&str, &[&str])| match framework {
            "OWASP API" => format!("OWASP {}", ids.join(", ")),
            "CWE" | "OWASP Agentic" | "OWASP MCP" => ids.join(", "),
            _ => format!("{framework} {}", ids.join(", ")),
        };
        self.by_framework()
            .map(part)
            .collect::<Vec<_>>()
            .join(" · ")
    }
}

/// The standards of a kind of finding.
pub fn find(finding: &str) -> Option<&'static Standards> {
    STANDARDS
        .iter()
        .find(|standards| standards.finding == finding)
}

/// The map as a Markdown table.
pub fn map_page() -> String {
    let mut page = String::from(
        "| finding | OWASP API | CWE | ATT&CK | PCI DSS 4.0 | NIST CSF 2.0 | EU AI Act | ISO/IEC 42001 | DORA | OWASP Agentic | OWASP MCP |\n",
    );
    page.push_str("|---|---|---|---|---|---|---|---|---|---|---|\n");
    for s in STANDARDS {
        let columns = [
            s.owasp_api,
            s.cwe,
            s.attack,
            s.pci_dss,
            s.nist_csf,
            s.eu_ai_act,
            s.iso_42001,
            s.dora,
            s.owasp_agentic,
            s.owasp_mcp,
        ];
        let columns: Vec<_> = columns.iter().map(|ids| ids.join(", ")).collect();
        page.push_str(&format!("| `{}` | {} |\n", s.finding, columns.join(" | ")));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::AGENT_CHECKS;
    use crate::posture::CHECKS;
    use crate::spread::PROBE_SPREAD;

    #[test]
    fn every_check_has_its_standards_and_ids_have_their_form() {
        let mut names: Vec<_> = STANDARDS
            .iter()
            .map(|standards| standards.finding)
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STANDARDS.len());
        for finding in CHECKS
            .iter()
            .map(|check| check.finding)
            .chain(AGENT_CHECKS.iter().map(|check| check.finding))
            .chain([PROBE_SPREAD.finding])
        {
            assert!(find(finding).is_some(), "{finding}");
        }
        let number = |id: &str, head: &str| {
            id.strip_prefix(head)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        for standards in STANDARDS {
            assert!(
                standards
                    .owasp_api
                    .iter()
                    .all(|id| number(id, "API") && id.ends_with(":2023")),
                "{standards:?}"
            );
            assert!(
                standards.cwe.iter().all(|id| number(id, "CWE-"))
                    && standards.attack.iter().all(|id| number(id, "T")),
                "{standards:?}"
            );
            assert!(
                standards.owasp_mcp.iter().all(|id| number(id, "MCP"))
                    && standards.owasp_agentic.iter().all(|id| number(id, "ASI")),
                "{standards:?}"
            );
            assert!(1 < standards.by_framework().count(), "{standards:?}");
        }
    }
}
