//! Who answers for which agents and servers, as the operator says.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Who answers for an agent or a server, and what it is meant to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answering {
    /// The team or person.
    pub owner: String,
    /// Of an agent: endpoints (`METHOD host /template`) it is meant to use.
    #[serde(default)]
    pub endpoints: BTreeSet<String>,
    /// Of an agent: tools (`server tool`) it is meant to use; of a server: the tools it has.
    #[serde(default)]
    pub tools: BTreeSet<String>,
}

/// The operator's register, by the names that agents and servers have in records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRegister {
    /// By the agent's name: its token's client, its identity, or `~family` of those that show no credential.
    #[serde(default)]
    pub agents: BTreeMap<String, Answering>,
    /// By `host/path`.
    #[serde(default)]
    pub servers: BTreeMap<String, Answering>,
}

impl AgentRegister {
    /// Who answers for an agent.
    pub fn agent(&self, name: &str) -> Option<&Answering> {
        self.agents.get(name)
    }

    /// Who answers for a server.
    pub fn server(&self, name: &str) -> Option<&Answering> {
        self.servers.get(name)
    }
}
