//! Traffic made from documented routes: what callers would send, with the route that each call is truly of.

use std::collections::BTreeMap;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::values::{Kind, draw, kind, word};

/// One documented operation.
pub(crate) struct Route {
    pub(crate) method: String,
    /// Base path and template: `/v2/users/{user_id}`.
    pub(crate) template: String,
    pub(crate) parameters: Vec<Parameter>,
}

/// A path parameter as its document describes it.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Parameter {
    #[serde(rename = "n", default)]
    pub(crate) name: String,
    #[serde(rename = "t", default)]
    pub(crate) kind: String,
    #[serde(rename = "f", default)]
    pub(crate) format: String,
    #[serde(rename = "p", default)]
    pub(crate) pattern: String,
}

/// One call; `route` is its place in the routes, none for noise.
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) identity: u64,
    pub(crate) route: Option<usize>,
}

/// The routes of each API, by its name; what is no template (cut off in the source) is left out.
pub(crate) fn routes(tsv: &str) -> BTreeMap<String, Vec<Route>> {
    let mut apis: BTreeMap<String, Vec<Route>> = BTreeMap::new();
    for line in tsv.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [api, method, base, template, parameters, ..] = fields.as_slice() else {
            continue;
        };
        let template = template.split(['?', '#']).next().unwrap_or("");
        let path: Vec<&str> = base
            .split('/')
            .chain(template.split('/'))
            .filter(|s| !s.is_empty())
            .collect();
        let balanced = path.iter().all(|s| {
            let mut open = 0i32;
            s.chars().all(|c| {
                open += i32::from(c == '{') - i32::from(c == '}');
                (0..=1).contains(&open)
            }) && open == 0
        });
        if balanced {
            apis.entry((*api).to_owned()).or_default().push(Route {
                method: (*method).to_owned(),
                template: format!("/{}", path.join("/")),
                parameters: serde_json::from_str(parameters).unwrap_or_default(),
            });
        }
    }
    // Two documents of one route, or one with two names for a parameter, are one group.
    for routes in apis.values_mut() {
        let mut seen = std::collections::BTreeSet::new();
        routes.retain(|route| seen.insert((route.method.clone(), anonymous(&route.template))));
    }
    apis
}

/// The template with nameless parameters.
fn anonymous(template: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in template.chars() {
        match c {
            '{' => inside = true,
            '}' => {
                inside = false;
                out.push_str("{}");
            }
            _ if inside => (),
            _ => out.push(c),
        }
    }
    out
}

/// A seeded source of numbers (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A rank below `n`, Zipf with exponent one (continuous approximation).
    pub(crate) fn zipf(&mut self, n: u64) -> u64 {
        let top = ((n as f64) + 1.0).ln();
        (((self.unit() * top).exp() - 1.0) as u64).min(n.saturating_sub(1))
    }

    pub(crate) fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Calls of one API: Zipf over routes and over values, 5 % answered 404, from 40 callers.
pub(crate) fn calls(api: &str, routes: &[Route], n_calls: usize, seed: u64) -> Vec<Call> {
    let mut random = Random(seed ^ xxh3_64(api.as_bytes()));
    // Which route is popular is the API's, not the seed's: two logs of one API are alike.
    let mut order: Vec<usize> = (0..routes.len()).collect();
    order.sort_by_key(|i| xxh3_64(format!("{api} {i}").as_bytes()));
    (0..n_calls)
        .map(|_| {
            let identity = random.zipf(40);
            let noise = random.below(100);
            if noise < 3 {
                let (method, path) = (
                    random.one_of(&["GET", "GET", "POST"]).to_owned(),
                    scan(&mut random),
                );
                return Call {
                    method,
                    path,
                    status: 404,
                    identity,
                    route: None,
                };
            }
            let at = order[random.zipf(routes.len() as u64) as usize];
            let route = &routes[at];
            let path = fill(api, route, &mut random);
            let missing = noise < 5;
            Call {
                method: route.method.clone(),
                path,
                status: if missing { 404 } else { 200 },
                identity,
                route: (!missing).then_some(at),
            }
        })
        .collect()
}

fn scan(random: &mut Random) -> String {
    let what = random.one_of(&[
        "/.env",
        "/.git/config",
        "/wp-login.php",
        "/admin",
        "/phpmyadmin",
        "/backup",
        "/config",
        "/server-status",
    ]);
    match random.below(2) {
        0 => what.to_owned(),
        _ => format!("{what}/{}", word(random.next())),
    }
}

/// The route's path with a value for every parameter.
fn fill(api: &str, route: &Route, random: &mut Random) -> String {
    let mut out = String::new();
    let mut rest = route.template.as_str();
    let mut parent = 0u64;
    while let Some((literal, tail)) = rest.split_once('{') {
        let at = route.template.len() - tail.len() - 1;
        out.push_str(literal);
        let (name, tail) = tail.split_once('}').unwrap_or((tail, ""));
        let value = draw(
            &place(api, route, at),
            &parameter(route, name),
            parent,
            random,
        );
        parent = xxh3_64(value.as_bytes());
        encode(&value, &mut out);
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' | b'@' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// What a route's hardest parameter is, for the report.
pub(crate) fn family(api: &str, route: &Route) -> &'static str {
    let mut family = "no parameter";
    for (at, _) in route.template.match_indices('{') {
        let whole = route.template[..at].ends_with('/')
            && route.template[at..].find('}').is_some_and(|end| {
                matches!(
                    route.template.as_bytes().get(at + end + 1),
                    None | Some(b'/')
                )
            });
        let name = route.template[at + 1..].split('}').next().unwrap_or("");
        let place = place(api, route, at);
        let kind = kind(
            &parameter(route, name),
            &mut Random(xxh3_64(place.as_bytes())),
        );
        let here = match kind {
            _ if !whole => "part of a segment",
            Kind::Choice | Kind::Flag => "few words (a type, a format)",
            Kind::Slug | Kind::Name | Kind::Handle | Kind::File | Kind::Code => "names",
            _ => "ids",
        };
        let order = [
            "no parameter",
            "ids",
            "names",
            "few words (a type, a format)",
            "part of a segment",
        ];
        let rank = |family: &str| order.iter().position(|other| *other == family);
        if rank(family) < rank(here) {
            family = here;
        }
    }
    family
}

/// What stands in one place is of one pool, whatever documents call it there.
fn place(api: &str, route: &Route, at: usize) -> String {
    format!(
        "{api} {}",
        anonymous(route.template.get(..at).unwrap_or(""))
    )
}

fn parameter(route: &Route, name: &str) -> Parameter {
    let known = route.parameters.iter().find(|p| p.name == name);
    known.cloned().unwrap_or(Parameter {
        name: name.to_owned(),
        kind: "string".into(),
        format: String::new(),
        pattern: String::new(),
    })
}
