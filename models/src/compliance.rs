//! Findings in the words of standards, and the questions of readiness. Data, in our own words; ids are facts.
//!
//! An API log is **supporting evidence**: it shows how a control worked on the calls that were logged. It does not show that a
//! control exists, covers everything, or is enough, and it is not the log of an AI system that the EU AI Act asks for.
//! CWE and ATT&CK ids are from memory of their catalogues, the others were looked up in published lists; check what you cite.

mod readiness;

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

    /// All of it on a line.
    pub fn line(&self) -> String {
        let parts: Vec<_> = self
            .by_framework()
            .map(|(framework, ids)| format!("{framework} {}", ids.join(", ")))
            .collect();
        parts.join(" · ")
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

/// The map: 31 kinds of findings.
pub const STANDARDS: &[Standards] = &[
    Standards {
        finding: "bola_enumeration",
        owasp_api: &["API1:2023"],
        cwe: &["CWE-639"],
        attack: &["T1213"],
        pci_dss: &["6.2.4", "7.2.5", "10.2.1.1", "10.4.1.1", "10.4.3"],
        nist_csf: &["PR.AA-05", "DE.CM-01", "DE.AE-02"],
        eu_ai_act: &["15(5)"],
        iso_42001: &["A.6.2.6"],
        dora: &["10(1)"],
        owasp_agentic: &["ASI03"],
        owasp_mcp: &["MCP07"],
    },
    Standards {
        finding: "bola_cross_tenant_success",
        owasp_api: &["API1:2023"],
        cwe: &["CWE-639", "CWE-284"],
        attack: &["T1213"],
        pci_dss: &["7.2.1", "7.2.5", "12.10.5"],
        nist_csf: &["PR.AA-05", "DE.AE-04", "DE.AE-08"],
        eu_ai_act: &["15(5)", "73"],
        iso_42001: &["A.8.4"],
        dora: &["10(1)", "17(3)(b)", "18(1)(d)"],
        owasp_agentic: &["ASI03"],
        owasp_mcp: &["MCP02"],
    },
    Standards {
        finding: "id_space_probe_refused",
        owasp_api: &["API1:2023"],
        cwe: &["CWE-204"],
        attack: &["T1595"],
        pci_dss: &["10.2.1.4", "10.4.3"],
        nist_csf: &["DE.CM-01", "DE.AE-02"],
        eu_ai_act: &["15(5)"],
        iso_42001: &["A.6.2.6"],
        dora: &["10(1)"],
        owasp_agentic: &["ASI02"],
        owasp_mcp: &[],
    },
    Standards {
        finding: "auth_missing_on_endpoint",
        owasp_api: &["API2:2023"],
        cwe: &["CWE-306"],
        attack: &["T1190"],
        pci_dss: &["8.3.1", "2.2.6"],
        nist_csf: &["PR.AA-03", "ID.RA-01"],
        eu_ai_act: &["15(1)"],
        iso_42001: &["A.6.2.6"],
        dora: &["9(4)(d)"],
        owasp_agentic: &["ASI03"],
        owasp_mcp: &["MCP07"],
    },
    Standards {
        finding: "credential_stuffing",
        owasp_api: &["API2:2023"],
        cwe: &["CWE-307"],
        attack: &["T1110.004"],
        pci_dss: &["8.3.1", "10.2.1.4"],
        nist_csf: &["PR.AA-03", "DE.CM-03"],
        eu_ai_act: &["15(5)"],
        iso_42001: &["A.6.2.6"],
        dora: &["10(1)"],
        owasp_agentic: &["ASI03"],
        owasp_mcp: &["MCP07"],
    },
    Standards {
        finding: "token_shared_or_replayed",
        owasp_api: &["API2:2023"],
        cwe: &["CWE-294"],
        attack: &["T1550.001"],
        pci_dss: &["8.2.2", "8.6.1"],
        nist_csf: &["PR.AA-01", "DE.CM-03"],
        eu_ai_act: &["15(5)"],
        iso_42001: &["A.6.2.6"],
        dora: &["9(4)(d)"],
        owasp_agentic: &["ASI03"],
        owasp_mcp: &["MCP01"],
    },
    Standards {
        finding: "secret_in_url",
        owasp_api: &["API2:2023", "API8:2023"],
        cwe: &["CWE-598"],
        attack: &["T1552"],
        pci_dss: &["2.2.6", "8.6.2"],
        nist_csf: &["PR.DS-02", "ID.RA-01"],
        eu_ai_act: &["15(1)"],
        iso_42001: &["A.6.2.6"],
        dora: &["9(3)(a)"],
        owasp_agentic: &[],
        owasp_mcp: &["MCP01"],
    },
    Standards {
        finding: "object_property_growth",
        owasp_api: &["API3:2023"],
        cwe: &["CWE-213"],
        attack: &["T1213"],
        pci_dss: &["6.2.4"],
        nist_csf: &["DE.CM-09", "DE.AE-02"],
        eu_ai_act: &[],
        iso_42001: &["A.6.2.6"],
        dora: &["10(1)"],
        owasp_agentic: &[],
        owasp_mcp: &["MCP10"],
    },
    Standards {
        finding: "resource_abuse",
        owasp_api: &["API4:2023"],
        cwe: &["CWE-770"],
        attack: &["T1499.003"],
        pci_dss: &["6.4.2"],
        nist_csf: &["DE.CM-01", "DE.AE-02"],
        eu_ai_act: &["15(4)"],
        iso_42001: &["A.6.2.6"],
        dora: &["10(1)"],
        owasp_agentic: &["ASI02", "ASI08"],
        owasp_mcp: &[],
    },
    Standards {
        finding: "admin_function_by_user",
        owasp_api: &["API5:2023"],
        cwe: &["CWE-285"],
        attack: &["T1068"],
        pci_dss: &["7.2.1", "10.2.1.2"],
        nist_csf: &["PR.AA-05", "DE.CM-03"],
        eu_ai_act: &["15(5)"],
        iso_42001: &["A.6.2.6"],
        dora: &["9(4)(c)"],
        owasp_agentic: &["ASI03"],
        owasp_mcp: &["MCP02"],
    },
    Standards {
        finding: "business_flow_automation",
        owasp_api: &["API6:2023"],
        cwe: &["CWE-799"],
        attack: &[],
        pci_dss: &["6.2.4", "6.4.2"],
        nist_csf: &["DE.CM-01"],
        eu_ai_act: &[],
        iso_42001: &["A.9.4"],
        dora: &["10(1)"],
        owasp_agentic: &["ASI02"],
        owasp_mcp: &[],
    },
    Standards {
        finding: "ssrf_pattern",
        owasp_api: &["API7:2023"],
        cwe: &["CWE-918"],
        attack: &["T1190"],
        pci_dss: &["6.2.4", "6.4.2"],
        nist_csf: &["DE.CM-01"],
        eu_ai_act: &["15(5)"],
        iso_42001: &["A.6.2.6"],
        dora: &["10(1)"],
        owasp_agentic: &["ASI02"],
        owasp_mcp: &["MCP05"],
    },
    Standards {
        finding: "tls_old_or_absent",
        owasp_api: &["API8:2023"],
        cwe: &["CWE-319"],
        attack: &["T1557"],
        pci_dss: &["4.2.1", "2.2.7"],
        nist_csf: &["PR.DS-02", "PR.PS-01"],
        eu_ai_act: &["15(1)"],
        iso_42001: &["A.6.2.6"],
        dora: &["9(3)(a)"],
        owasp_agentic: &["ASI07"],
        owasp_mcp: &[],
    },
    Standards {
        finding: "cors_any_origin_credentials",
        owasp_api: &["API8:2023"],
        cwe: &["CWE-942"],
        attack: &[],
        pci_dss: &["2.2.1", "2.2.6"],
        nist_csf: &["PR.PS-01", "ID.RA-01"],
        eu_ai_act: &["15(1)"],
        iso_42001: &["A.6.2.6"],
        dora: &["9(4)(b)"],
        owasp_agentic: &[],
        owasp_mcp: &[],
    },
    Standards {
        finding: "verbose_error_or_stack_trace",
        owasp_api: &["API8:2023"],
        cwe: &["CWE-209"],
        attack: &["T1592"],
        pci_dss: &["6.2.4", "2.2.6"],
        nist_csf: &["PR.PS-01", "ID.RA-01"],
        eu_ai_act: &["15(1)"],
        iso_42001: &["A.6.2.6"],
        dora: &["9(4)(b)"],
        owasp_agentic: &[],
        owasp_mcp: &[],
    },
    Standards {
        finding: "unneeded_method_enabled",
        owasp_api: &["API8:2023"],
        cwe: &["CWE-650"],
        attack: &[],
        pci_dss: &["2.2.4"],
        nist_csf: &["PR.PS-01", "ID.RA-01"],
        eu_ai_act: &["15(1)"],
        iso_42001: &["A.6.2.6"],
        dora: &["9(4)(b)"],
        owasp_agentic: &[],
        owasp_mcp: &[],
    },
    Standards {
        finding: "debug_or_admin_path_open",
        owasp_api: &["API8:2023"],
        cwe: &["CWE-489"],
        attack: &["T1595.003"],
        pci_dss: &["2.2.4", "6.5.6"],
        nist_csf: &["PR.PS-01", "ID.RA-01"],
        eu_ai_act: &["15(1)"],
        iso_42001: &["A.6.2.6"],
        dora: &["9(4)(b)"],
        owasp_agentic: &[],
        owasp_mcp: &[],
    },
    Standards {
        finding: "missing_security_headers",
        owasp_api: &["API8:2023"],
        cwe: &["CWE-693"],
        attack: &[],
        pci_dss: &["2.2.6"],
        nist_csf: &["PR.PS-01"],
        eu_ai_act: &["15(1)"],
        iso_42001: &["A.6.2.6"],
        dora: &["9(4)(b)"],
        owasp_agentic: &[],
        owasp_mcp: &[],
    },
    Standards {
        finding: "version_disclosure",
        owasp_api: &["API8:2023"],
        cwe: &["CWE-200"],
        attack: &["T1592.002"],
        pci_dss: &["2.2.6"],
        nist_csf: &["PR.PS-01"],
        eu_ai_act: &[],
        iso_42001: &["A.6.2.6"],
        dora: &["9(4)(b)"],
        owasp_agentic: &[],
        owasp_mcp: &[],
    },
    Standards {
        finding: "shadow_endpoint",
        owasp_api: &["API9:2023"],
        cwe: &["CWE-1059"],
        attack: &[],
        pci_dss: &["6.3.2", "12.5.2"],
        nist_csf: &["ID.AM-02", "ID.AM-03"],
        eu_ai_act: &[],
        iso_42001: &["A.4.2"],
        dora: &["8(4)", "8(6)"],
        owasp_agentic: &["ASI04"],
        owasp_mcp: &["MCP09"],
    },
    Standards {
        finding: "zombie_endpoint",
        owasp_api: &["API9:2023"],
        cwe: &["CWE-1059"],
        attack: &[],
        pci_dss: &["6.3.2"],
        nist_csf: &["ID.AM-08"],
        eu_ai_act: &[],
        iso_42001: &["A.4.2"],
        dora: &["8(6)"],
        owasp_agentic: &[],
        owasp_mcp: &[],
    },
    Standards {
        finding: "spec_drift",
        owasp_api: &["API9:2023"],
        cwe: &["CWE-1059"],
        attack: &[],
        pci_dss: &["6.3.2", "6.5.1"],
        nist_csf: &["ID.AM-02", "PR.PS-01"],
        eu_ai_act: &["12(2)(a)"],
        iso_42001: &["A.6.2.6"],
        dora: &["8(6)", "9(4)(e)"],
        owasp_agentic: &["ASI04"],
        owasp_mcp: &["MCP03"],
    },
    Standards {
        finding: "upstream_3rd_party_anomaly",
        owasp_api: &["API10:2023"],
        cwe: &["CWE-346"],
        attack: &["T1199"],
        pci_dss: &["12.5.2"],
        nist_csf: &["DE.CM-06", "ID.AM-04", "GV.SC-07"],
        eu_ai_act: &[],
        iso_42001: &["A.10.3"],
        dora: &["8(5)"],
        owasp_agentic: &["ASI04"],
        owasp_mcp: &["MCP04"],
    },
    Standards {
        finding: "new_ai_agent",
        owasp_api: &["API9:2023"],
        cwe: &[],
        attack: &[],
        pci_dss: &["12.5.2"],
        nist_csf: &["ID.AM-02", "DE.CM-03"],
        eu_ai_act: &["26(5)"],
        iso_42001: &["A.4.2", "A.9.4"],
        dora: &["8(4)"],
        owasp_agentic: &["ASI10"],
        owasp_mcp: &["MCP09"],
    },
    Standards {
        finding: "ai_agent_scope_growth",
        owasp_api: &["API5:2023"],
        cwe: &["CWE-269"],
        attack: &[],
        pci_dss: &["7.2.5"],
        nist_csf: &["PR.AA-05", "DE.AE-02"],
        eu_ai_act: &["14(4)(a)", "26(5)"],
        iso_42001: &["A.9.4"],
        dora: &["9(4)(c)"],
        owasp_agentic: &["ASI03", "ASI10"],
        owasp_mcp: &["MCP02"],
    },
    Standards {
        finding: "shadow_mcp_server",
        owasp_api: &["API9:2023"],
        cwe: &["CWE-1059"],
        attack: &[],
        pci_dss: &["6.3.2", "12.5.2"],
        nist_csf: &["ID.AM-02", "ID.AM-03"],
        eu_ai_act: &["26(5)"],
        iso_42001: &["A.4.2", "A.4.4"],
        dora: &["8(4)"],
        owasp_agentic: &["ASI04"],
        owasp_mcp: &["MCP09"],
    },
    Standards {
        finding: "mcp_tool_list_changed",
        owasp_api: &["API10:2023"],
        cwe: &["CWE-494"],
        attack: &[],
        pci_dss: &["6.5.1"],
        nist_csf: &["DE.CM-09"],
        eu_ai_act: &["12(2)(a)"],
        iso_42001: &["A.6.2.6", "A.10.3"],
        dora: &["9(4)(e)"],
        owasp_agentic: &["ASI04"],
        owasp_mcp: &["MCP03"],
    },
    Standards {
        finding: "mcp_unauthenticated",
        owasp_api: &["API2:2023"],
        cwe: &["CWE-306"],
        attack: &["T1190"],
        pci_dss: &["8.3.1"],
        nist_csf: &["PR.AA-03"],
        eu_ai_act: &["15(5)"],
        iso_42001: &["A.6.2.6"],
        dora: &["9(4)(d)"],
        owasp_agentic: &["ASI03", "ASI07"],
        owasp_mcp: &["MCP07"],
    },
    Standards {
        finding: "log_gap_or_lag",
        owasp_api: &[],
        cwe: &["CWE-778"],
        attack: &["T1562.008"],
        pci_dss: &["10.7.2", "10.2.1", "10.4.1.1"],
        nist_csf: &["PR.PS-04", "DE.CM-01"],
        eu_ai_act: &["12(1)", "26(6)"],
        iso_42001: &["A.6.2.8"],
        dora: &["10(1)", "17(2)"],
        owasp_agentic: &[],
        owasp_mcp: &["MCP08"],
    },
    Standards {
        finding: "agent_tool_chain",
        owasp_api: &["API6:2023"],
        cwe: &["CWE-200"],
        attack: &["T1567"],
        pci_dss: &["10.4.1.1"],
        nist_csf: &["DE.CM-09", "DE.AE-02"],
        eu_ai_act: &["14(4)(a)", "26(5)"],
        iso_42001: &["A.6.2.6", "A.9.4"],
        dora: &["10(1)"],
        owasp_agentic: &["ASI01", "ASI02"],
        owasp_mcp: &["MCP06", "MCP10"],
    },
    Standards {
        finding: "agent_loop",
        owasp_api: &["API4:2023"],
        cwe: &["CWE-770"],
        attack: &[],
        pci_dss: &[],
        nist_csf: &["DE.CM-09", "DE.AE-02"],
        eu_ai_act: &["14(4)(a)"],
        iso_42001: &["A.6.2.6"],
        dora: &["10(1)"],
        owasp_agentic: &["ASI08"],
        owasp_mcp: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::AGENT_CHECKS;
    use crate::posture::CHECKS;

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
