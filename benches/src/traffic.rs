//! Kong http-log records, about 950 bytes each; the same configuration gives the same bytes.
//!
//! * 100,000 consumers, called by Zipf's law with exponent 1.05, so some are in every second and most are rare.
//! * 40 endpoint templates. A consumer uses a handful of them, and on each a small set of objects of its own.
//! * 100 enumerators among them: bursts of 30 to 200 consecutive object ids on one template.
//! * `started_at` runs at 10,000 events per second of event time and is up to 2 s out of order,
//!   because Kong logs a request when it is over.
//!
//! Layout of a record: Kong Gateway 3 documentation, "HTTP Log", section "Log format".

use std::io::Write;

use clap::Args;

const CONSUMERS: usize = 100_000;
const ZIPF_EXPONENT: f64 = 1.05;
const ENUMERATORS: u64 = 100;
/// Bursts that run at the same time; together they make one call in `BURST_ONE_IN`.
const BURSTS: usize = 8;
const BURST_ONE_IN: u64 = 64;
/// 2026-01-01T00:00:00Z.
const START_MS: u64 = 1_767_225_600_000;
const EVENTS_PER_MS: u64 = 10;
const LATE_MS_MAX: u64 = 2_000;
const KNOWN_OBJECTS_MAX: u64 = 24;

/// Most called first: method, path with `{}` where an object id stands, service.
const ENDPOINTS: [(&str, &str, &str); 40] = [
    ("GET", "/v2/accounts/{}", "accounts"),
    ("GET", "/v2/accounts/{}/transactions", "accounts"),
    ("GET", "/v2/me", "profiles"),
    ("GET", "/v1/cards/{}", "cards"),
    ("GET", "/v2/accounts/{}/balance", "accounts"),
    ("GET", "/v1/notifications", "messaging"),
    ("GET", "/v1/payments/{}", "payments"),
    ("POST", "/v1/payments", "payments"),
    ("GET", "/v1/orders/{}", "orders"),
    ("GET", "/v1/orders/{}/items", "orders"),
    ("GET", "/v1/invoices/{}", "billing"),
    ("GET", "/v1/invoices/{}/lines", "billing"),
    ("GET", "/v1/customers/{}", "customers"),
    ("GET", "/v1/customers/{}/contacts", "customers"),
    ("PUT", "/v1/customers/{}/contacts", "customers"),
    ("GET", "/v1/documents/{}", "documents"),
    ("GET", "/v1/documents/{}/versions", "documents"),
    ("POST", "/v1/documents", "documents"),
    ("GET", "/v1/rates", "markets"),
    ("GET", "/v1/search", "catalog"),
    ("GET", "/v1/catalog/{}", "catalog"),
    ("GET", "/v1/claims/{}", "claims"),
    ("PATCH", "/v1/claims/{}", "claims"),
    ("GET", "/v1/policies/{}", "policies"),
    ("GET", "/v1/policies/{}/coverage", "policies"),
    ("GET", "/v1/devices/{}", "devices"),
    ("POST", "/v1/devices/{}/commands", "devices"),
    ("GET", "/v1/devices/{}/telemetry", "devices"),
    ("GET", "/v1/tickets/{}", "support"),
    ("POST", "/v1/tickets/{}/comments", "support"),
    ("GET", "/v1/subscriptions/{}", "billing"),
    ("DELETE", "/v1/subscriptions/{}", "billing"),
    ("GET", "/v1/statements/{}", "accounts"),
    ("GET", "/v1/beneficiaries/{}", "payments"),
    ("PUT", "/v1/beneficiaries/{}", "payments"),
    ("GET", "/v1/limits", "cards"),
    ("PUT", "/v1/cards/{}/limits", "cards"),
    ("POST", "/v1/sessions/refresh", "profiles"),
    ("GET", "/v1/contracts/{}", "policies"),
    ("GET", "/health", "platform"),
];

/// The last one needs escapes, as some agents in every real log do.
const USER_AGENTS: [&str; 5] = [
    "okhttp/4.12.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_2 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "python-requests/2.32.3",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
    "Kassenb\u{fc}ro \"Nord\"\\3.1",
];

/// What the records look like.
#[derive(Args)]
pub(crate) struct TrafficConfig {
    /// Another seed gives other consumers, objects and bursts.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write `/` as `\/`, as Kong's JSON library does by default.
    #[arg(long)]
    pub(crate) escape_slashes: bool,
}

/// An endless run of records.
pub(crate) struct Traffic {
    /// Kong's `consumer.id`, by rank.
    pub(crate) consumer_ids: Vec<String>,
    /// Chance that a call comes from this rank or a lower one; ascending, ends at 1.
    rank_chance: Vec<f64>,
    bursts: [Burst; BURSTS],
    random: Random,
    seed: u64,
    n_written: u64,
    escape_slashes: bool,
}

/// Consecutive ids walked by one consumer on one endpoint.
#[derive(Clone, Copy, Default)]
struct Burst {
    rank: usize,
    endpoint: usize,
    next_object: u64,
    n_left: u64,
}

/// One call before it is a record.
struct Call {
    rank: usize,
    endpoint: usize,
    object: u64,
    foreign: bool,
}

impl Traffic {
    pub(crate) fn new(config: &TrafficConfig) -> Self {
        let mut total = 0.0;
        let mut rank_chance: Vec<f64> = (1..=CONSUMERS)
            .map(|rank| {
                total += (rank as f64).powf(-ZIPF_EXPONENT);
                total
            })
            .collect();
        rank_chance.iter_mut().for_each(|chance| *chance /= total);
        Traffic {
            consumer_ids: (0..CONSUMERS as u64)
                .map(|rank| uuid(config.seed, rank))
                .collect(),
            rank_chance,
            bursts: [Burst::default(); BURSTS],
            random: Random(config.seed),
            seed: config.seed,
            n_written: 0,
            escape_slashes: config.escape_slashes,
        }
    }

    /// Appends the next record to `out` and returns its consumer's rank.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) -> usize {
        let call = if self.random.below(BURST_ONE_IN) == 0 {
            self.walk()
        } else {
            self.usual()
        };
        let now_ms = START_MS + self.n_written / EVENTS_PER_MS;
        self.n_written += 1;
        // Cubed: most requests are over at once, some take long.
        let lateness = self.random.unit().powi(3);
        let started_ms = now_ms - (lateness * LATE_MS_MAX as f64) as u64;
        self.encode(&call, started_ms, out);
        call.rank
    }

    /// A consumer on an object that it knows.
    fn usual(&mut self) -> Call {
        let chance = self.random.unit();
        let rank = self
            .rank_chance
            .partition_point(|&c| c < chance)
            .min(CONSUMERS - 1);
        // Six favourites a consumer, popular endpoints more often among them.
        let favourite = hash(self.seed, (rank as u64) << 8 | self.random.below(6));
        let endpoint = ((favourite % 40) * ((favourite >> 32) % 40) / 40) as usize;
        let owned = 1 + hash(rank as u64, endpoint as u64) % KNOWN_OBJECTS_MAX;
        // The smaller of two draws: some objects are opened more often than others.
        let nth = self.random.below(owned).min(self.random.below(owned));
        let object = 1_000_000
            + hash(hash(self.seed, rank as u64), (endpoint as u64) << 8 | nth) % 9_000_000;
        Call {
            rank,
            endpoint,
            object,
            foreign: false,
        }
    }

    /// The next step of a burst, or the first of a new one.
    fn walk(&mut self) -> Call {
        let slot = self.random.below(BURSTS as u64) as usize;
        if self.bursts[slot].n_left == 0 {
            let with_object = ENDPOINTS
                .iter()
                .enumerate()
                .filter(|(_, e)| e.0 == "GET" && e.1.contains("{}"));
            let endpoints: Vec<usize> = with_object.map(|(number, _)| number).collect();
            self.bursts[slot] = Burst {
                rank: (500 + self.random.below(ENUMERATORS) * 947) as usize,
                endpoint: endpoints[self.random.below(endpoints.len() as u64) as usize],
                next_object: 1_000_000 + self.random.below(8_999_000),
                n_left: 30 + self.random.below(171),
            };
        }
        let burst = &mut self.bursts[slot];
        let call = Call {
            rank: burst.rank,
            endpoint: burst.endpoint,
            object: burst.next_object,
            foreign: true,
        };
        burst.next_object += 1;
        burst.n_left -= 1;
        call
    }

    fn encode(&mut self, call: &Call, started_ms: u64, out: &mut Vec<u8>) {
        let (method, template, service) = ENDPOINTS[call.endpoint];
        let bits = self.random.next();
        let who = hash(self.seed, call.rank as u64);
        let status = status(method, call.foreign, bits & 1023);
        let path = template.replace("{}", &call.object.to_string());
        let (page, limit) = ((bits >> 10) & 15, 10 << ((bits >> 14) & 3));
        let paged = (bits >> 16) & 1 == 0;
        let query = if paged {
            format!("?page={page}&limit={limit}")
        } else {
            String::new()
        };
        let response_bytes = 310 + ((bits >> 17) & 4095);
        let upstream_ms = 3 + ((bits >> 29) & 63);
        let kong_ms = 1 + ((bits >> 35) & 3);
        let id = &self.consumer_ids[call.rank];
        let agent = match who % 100 {
            99 => USER_AGENTS[4],
            share => USER_AGENTS[share as usize % 4],
        };

        let mut json = JsonWriter {
            out,
            escape_slashes: self.escape_slashes,
        };
        json.raw("{\"request\":{\"method\":").text(method);
        json.raw(",\"uri\":").text(&format!("{path}{query}"));
        json.raw(",\"url\":")
            .text(&format!("https://api.example.com:8443{path}{query}"));
        json.raw(",\"size\":").number(340 + ((bits >> 37) & 127));
        json.raw(",\"querystring\":{");
        if paged {
            json.raw("\"page\":\"")
                .number(page)
                .raw("\",\"limit\":\"")
                .number(limit)
                .raw("\"");
        }
        json.raw("},\"headers\":{\"host\":\"api.example.com\",\"user-agent\":")
            .text(agent);
        json.raw(",\"accept\":").text("application/json");
        json.raw(",\"accept-encoding\":\"gzip, deflate\"");
        json.raw(",\"x-request-id\":\"")
            .hex(bits)
            .hex(hash(bits, who))
            .raw("\"}}");
        json.raw(",\"upstream_uri\":").text(&path);
        json.raw(",\"response\":{\"status\":").number(status);
        json.raw(",\"size\":").number(response_bytes);
        json.raw(",\"headers\":{\"content-type\":")
            .text("application/json; charset=utf-8");
        json.raw(",\"content-length\":\"")
            .number(response_bytes - 200);
        json.raw("\",\"via\":").text("1.1 kong/3.9.0");
        json.raw("}},\"latencies\":{\"request\":")
            .number(upstream_ms + kong_ms);
        json.raw(",\"proxy\":")
            .number(upstream_ms)
            .raw(",\"kong\":")
            .number(kong_ms);
        json.raw("},\"client_ip\":\"10.").number((who >> 8) & 255);
        json.raw(".")
            .number((who >> 16) & 255)
            .raw(".")
            .number((who >> 24) & 255);
        json.raw("\",\"started_at\":").number(started_ms);
        json.raw(",\"consumer\":{\"id\":").text(id);
        json.raw(",\"username\":\"app-").number(call.rank as u64);
        json.raw("\"},\"authenticated_entity\":{\"id\":").text(id);
        json.raw("},\"route\":{\"name\":\"")
            .raw(service)
            .raw("\",\"paths\":[")
            .text("/v");
        json.raw("]},\"service\":{\"name\":\"").raw(service);
        json.raw("\",\"host\":\"")
            .raw(service)
            .raw(".internal\",\"port\":8080,\"protocol\":\"http\"}}");
    }
}

/// Mostly success; who walks foreign ids is refused, or told that there is nothing, now and then.
fn status(method: &str, foreign: bool, chance_of_1024: u64) -> u64 {
    match (foreign, chance_of_1024) {
        (true, 0..=699) => 200,
        (true, 700..=899) => 403,
        (true, _) => 404,
        (false, 0..=959) if method == "POST" => 201,
        (false, 0..=959) => 200,
        (false, 960..=979) => 304,
        (false, 980..=994) => 400,
        (false, 995..=1003) => 401,
        (false, 1004..=1007) => 403,
        (false, 1008..=1018) => 404,
        (false, _) => 502,
    }
}

/// Writes JSON by hand: the generator must not be what limits the broker.
struct JsonWriter<'a> {
    out: &'a mut Vec<u8>,
    escape_slashes: bool,
}

impl JsonWriter<'_> {
    fn raw(&mut self, json: &str) -> &mut Self {
        self.out.extend_from_slice(json.as_bytes());
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        write!(self.out, "{number}").expect("a vector takes every byte");
        self
    }

    fn hex(&mut self, number: u64) -> &mut Self {
        write!(self.out, "{number:016x}").expect("a vector takes every byte");
        self
    }

    /// A JSON string, with RFC 8259's escapes where they are required and non-ASCII as it is.
    fn text(&mut self, text: &str) -> &mut Self {
        self.out.push(b'"');
        for &byte in text.as_bytes() {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                b'/' if self.escape_slashes => self.out.extend_from_slice(b"\\/"),
                0..0x20 => write!(self.out, "\\u{byte:04x}").expect("a vector takes every byte"),
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
        self
    }
}

/// wyrand (Wang Yi, 2019): a counter and one wide multiplication.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        fold(self.0, self.0 ^ 0xe703_7ed1_a0b4_28db)
    }

    /// Uniform in `0..n`.
    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in `[0, 1)`.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (-53f64).exp2()
    }
}

/// Two numbers to one, well mixed.
fn hash(a: u64, b: u64) -> u64 {
    let mixed = fold(a ^ 0x2d35_8dcc_aa6c_78a5, b ^ 0x8bb8_4b93_962e_acc9);
    fold(mixed ^ 0x4b33_a62e_d433_d4a3, mixed.rotate_left(32) ^ b)
}

fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide >> 64) as u64 ^ wide as u64
}

/// A version 4 UUID made from two numbers.
fn uuid(seed: u64, number: u64) -> String {
    let (high, low) = (hash(seed, number), hash(number, !seed));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 50),
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn records(n: usize, escape_slashes: bool) -> Vec<Vec<u8>> {
        let mut traffic = Traffic::new(&TrafficConfig {
            seed: 1,
            escape_slashes,
        });
        let mut next = || {
            let mut record = Vec::new();
            traffic.write(&mut record);
            record
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        assert_eq!(records(1000, false), records(1000, false));
    }

    #[test]
    fn escaped_slashes_change_bytes_and_not_values() {
        for (plain, escaped) in records(5000, false).iter().zip(&records(5000, true)) {
            assert!(plain.len() < escaped.len());
            let plain: Value = serde_json::from_slice(plain).expect("plain JSON");
            assert_eq!(
                plain,
                serde_json::from_slice::<Value>(escaped).expect("escaped JSON")
            );
        }
    }

    #[test]
    fn records_are_like_those_the_figures_name() {
        let records = records(100_000, false);
        let mean_bytes = records.iter().map(Vec::len).sum::<usize>() / records.len();
        assert!((930..=975).contains(&mean_bytes), "{mean_bytes} B");

        let (mut consumers, mut agents, mut previous, mut n_consecutive) =
            (HashSet::new(), HashSet::new(), HashSet::new(), 0);
        for record in &records {
            let value: Value = serde_json::from_slice(record).expect("JSON");
            let who = value["consumer"]["id"]
                .as_str()
                .expect("a consumer")
                .to_owned();
            agents.insert(value["request"]["headers"]["user-agent"].to_string());
            let path = value["upstream_uri"].as_str().expect("a path");
            let object = path
                .split('/')
                .find_map(|segment| segment.parse::<u64>().ok());
            if let Some(object) = object {
                n_consecutive += usize::from(previous.contains(&(who.clone(), object - 1)));
                previous.insert((who.clone(), object));
            }
            consumers.insert(who);
        }
        assert!(
            (10_000..60_000).contains(&consumers.len()),
            "{} consumers",
            consumers.len()
        );
        assert_eq!(agents.len(), USER_AGENTS.len());
        assert!(
            (1_200..2_000).contains(&n_consecutive),
            "{n_consecutive} steps of enumerators"
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        let mut out = Vec::new();
        JsonWriter {
            out: &mut out,
            escape_slashes: false,
        }
        .text("a\u{1}\"\\/\u{e9}");
        assert_eq!(out, "\"a\\u0001\\\"\\\\/\u{e9}\"".as_bytes());
    }
}
