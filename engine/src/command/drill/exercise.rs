//! Who does what in a drill: new agents among people, as a gateway would log them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Collections of the API everybody calls.
const COLLECTIONS: [&str; 12] = [
    "orders",
    "invoices",
    "customers",
    "tickets",
    "parcels",
    "products",
    "payments",
    "contracts",
    "reports",
    "messages",
    "calendars",
    "devices",
];
/// Tools of the MCP servers.
const TOOLS: [&str; 8] = [
    "search_orders",
    "get_invoice",
    "list_tickets",
    "create_ticket",
    "find_customer",
    "summarise_report",
    "read_calendar",
    "track_parcel",
];
/// People who call the API besides.
const PEOPLE: u64 = 40;
/// Ticks between two calls of one use.
const EVERY_TICKS: usize = 10;

/// One API or tool that one agent uses.
#[derive(Debug)]
pub(super) struct Use {
    /// The agent's name in the inventory.
    pub(super) agent: String,
    /// By what it is recognised.
    pub(super) known_by: &'static str,
    /// `METHOD host /template`.
    pub(super) endpoint: String,
    /// Server and tool, of a tool's call.
    pub(super) tool: Option<(String, &'static str)>,
    /// Share of the exercise's time at which it is first used.
    at: f64,
    way: Way,
    collection: &'static str,
    n: u64,
}

/// How an agent shows what it is.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Its token's client, acting for a person.
    Client,
    /// It speaks MCP.
    Protocol,
    /// The library it is made with.
    Library,
}

/// A call to write.
pub(super) struct Call {
    /// Which use it is of; none of a person's.
    pub(super) of: Option<usize>,
    record: Value,
}

impl Call {
    /// One line of a Kong log.
    pub(super) fn line(&self, at_ms: i64) -> String {
        let mut record = self.record.clone();
        record["started_at"] = json!(at_ms);
        record.to_string()
    }
}

/// The whole of it.
pub(super) struct Exercise {
    uses: Vec<Use>,
    tag: u64,
}

impl Exercise {
    /// Draws `n` agents.
    ///
    /// * `tag`: tells the agents of one drill from those of another.
    pub(super) fn new(n: usize, seed: u64, tag: u64) -> Exercise {
        let mut dice = seed;
        let uses = (0..n).flat_map(|i| {
            let way = [Way::Client, Way::Protocol, Way::Library][i % 3];
            let n_uses = 2 + draw(&mut dice) as usize % 5;
            let (first, offset) = (draw(&mut dice) % 60, draw(&mut dice) as usize);
            (0..n_uses)
                .map(|at| {
                    // The first at once, the others in the time that is left.
                    let at = (first as f64 + at as f64 * 7.0) / 100.0;
                    Use::new(i, way, tag, (offset + at as usize, at), draw(&mut dice))
                })
                .collect::<Vec<_>>()
        });
        let mut uses: Vec<Use> = uses.collect();
        let mut known = BTreeSet::new();
        uses.retain(|used| {
            known.insert((used.agent.clone(), used.endpoint.clone(), used.tool.clone()))
        });
        Exercise { uses, tag }
    }

    /// What the agents use, in the order of agents.
    pub(super) fn uses(&self) -> impl Iterator<Item = &Use> {
        self.uses.iter()
    }

    /// The calls of one tick of `n_ticks`.
    pub(super) fn calls(&self, tick: usize, n_ticks: usize) -> Vec<Call> {
        let mut calls: Vec<Call> = (0..2)
            .map(|i| {
                let n = tick as u64 * 2 + i;
                let collection = COLLECTIONS[(n % 12) as usize];
                let person = format!("drill-{}-person-{}", self.tag, n % PEOPLE);
                let own = (n % PEOPLE) * 1000 + n / PEOPLE % 5;
                let path = format!("/{collection}/{own}");
                Call {
                    of: None,
                    record: record("GET", "api.drill.example", &path, &person, None, &[]),
                }
            })
            .collect();
        for (of, used) in self.uses.iter().enumerate() {
            let first = (used.at * n_ticks as f64) as usize;
            if first <= tick && (tick - first).is_multiple_of(EVERY_TICKS) {
                calls.push(Call {
                    of: Some(of),
                    record: used.record(tick as u64),
                });
            }
        }
        calls
    }
}

impl Use {
    fn new(agent: usize, way: Way, tag: u64, (which, at): (usize, f64), n: u64) -> Use {
        let which = which.wrapping_add(n as usize);
        let collection = COLLECTIONS[which % COLLECTIONS.len()];
        let (agent, known_by) = match way {
            Way::Client => (format!("drill-{tag}-{agent}-agent"), "its token's client"),
            Way::Protocol => (format!("drill-{tag}-{agent}"), "speaking MCP"),
            Way::Library => (format!("drill-{tag}-{agent}"), "its library"),
        };
        let (endpoint, tool) = match way {
            Way::Protocol => {
                let host = format!("mcp-{}.drill.example", which % 3);
                let tool = TOOLS[which % TOOLS.len()];
                (
                    format!("POST {host} /mcp"),
                    Some((format!("{host}/mcp"), tool)),
                )
            }
            Way::Client => (format!("GET api.drill.example /{collection}/{{id}}"), None),
            Way::Library => (format!("POST api.drill.example /{collection}"), None),
        };
        Use {
            agent,
            known_by,
            endpoint,
            tool,
            at,
            way,
            collection,
            n,
        }
    }

    fn record(&self, tick: u64) -> Value {
        let collection = self.collection;
        match (self.way, &self.tool) {
            (Way::Protocol, Some((server, tool))) => {
                let host = server.trim_end_matches("/mcp");
                let headers = [("mcp-method", "tools/call"), ("mcp-name", *tool)];
                record("POST", host, "/mcp", &self.agent, None, &headers)
            }
            (Way::Client, _) => {
                let user = format!("{}-user", self.agent);
                let path = format!("/{collection}/{}", 5000 + (self.n + tick) % 20);
                let client = Some(self.agent.as_str());
                record("GET", "api.drill.example", &path, &user, client, &[])
            }
            _ => {
                let path = format!("/{collection}");
                let headers = [("user-agent", "OpenAI/Python 1.68.2")];
                record(
                    "POST",
                    "api.drill.example",
                    &path,
                    &self.agent,
                    None,
                    &headers,
                )
            }
        }
    }
}

/// A call as Kong logs it, without its time.
fn record(
    method: &str,
    host: &str,
    path: &str,
    user: &str,
    client: Option<&str>,
    headers: &[(&str, &str)],
) -> Value {
    let mut asked = json!({ "host": host, "user-agent": "drill/1.0" });
    for (name, value) in headers {
        asked[*name] = json!(value);
    }
    let mut claims = json!({ "sub": user });
    if let Some(client) = client {
        claims["azp"] = json!(client);
    }
    json!({
        "client_ip": "203.0.113.10",
        "request": {
            "method": method, "uri": path, "url": format!("https://{host}{path}"), "size": 300, "headers": asked,
            "tls": { "version": "TLSv1.3" },
        },
        "response": { "status": 200, "size": 900, "headers": {} },
        "latencies": { "request": 12 },
        "jwt_claims": claims.to_string(),
    })
}

/// The next number of splitmix64 (Steele, Lea and Flood, 2014).
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_use_is_called_in_time_and_told_apart() {
        let exercise = Exercise::new(10, 1, 7);
        let agents: BTreeSet<&str> = exercise.uses().map(|used| used.agent.as_str()).collect();
        assert_eq!(agents.len(), 10);
        let names: BTreeSet<_> = exercise
            .uses()
            .map(|used| (&used.agent, &used.endpoint, &used.tool))
            .collect();
        assert_eq!(names.len(), exercise.uses().count());
        let called = (0..100).flat_map(|tick| exercise.calls(tick, 100));
        let called: BTreeSet<usize> = called.filter_map(|call| call.of).collect();
        assert_eq!(called.len(), exercise.uses().count());
    }
}
