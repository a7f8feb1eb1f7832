//! How well learnt templates group calls whose routes are known.
//!
//! Traffic is generated from documented routes (`../shared/data/datasets/dev/openapi-paths.tsv.xz`, third-party and no part
//! of the project; without it nothing is measured, and the test says so). Templates are learnt from one log of an API and
//! judged on another.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::{Duration, Instant};

use models::endpoint::endpoint_by;
use models::template::learner::Observation;
use models::template::{Learner, TemplateSet};
use xxhash_rust::xxh3::xxh3_64;

#[path = "templates/traffic.rs"]
mod traffic;
#[path = "templates/values.rs"]
mod values;

use traffic::{Call, Random, Route, calls, family, routes};

const CALLS_PER_ROUTE: usize = 100;

#[derive(Default, Clone, Copy, Debug)]
struct Score {
    n_routes: usize,
    n_groups: usize,
    n_right: usize,
    n_calls: usize,
    n_calls_right: usize,
    n_over_merged: usize,
    n_over_split: usize,
}

/// Routes of each family, and how many of them are one group of their own.
type Families = BTreeMap<&'static str, [usize; 2]>;

impl Score {
    fn add(&mut self, other: &Score) {
        self.n_routes += other.n_routes;
        self.n_groups += other.n_groups;
        self.n_right += other.n_right;
        self.n_calls += other.n_calls;
        self.n_calls_right += other.n_calls_right;
        self.n_over_merged += other.n_over_merged;
        self.n_over_split += other.n_over_split;
    }

    fn precision(&self) -> f64 {
        self.n_right as f64 / self.n_groups.max(1) as f64
    }

    fn recall(&self) -> f64 {
        self.n_right as f64 / self.n_routes.max(1) as f64
    }

    fn f1(&self) -> f64 {
        2.0 * self.n_right as f64 / (self.n_groups + self.n_routes).max(1) as f64
    }
}

/// A group is right when it holds all calls of one route and no others.
fn score(
    set: &TemplateSet,
    api: &str,
    routes: &[Route],
    calls: &[Call],
    families: &mut Families,
) -> Score {
    let mut groups: BTreeMap<String, BTreeMap<usize, usize>> = BTreeMap::new();
    let mut of_route: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for call in calls {
        let Some(route) = call.route else { continue };
        let name = name(set, api, call);
        *groups
            .entry(name.clone())
            .or_default()
            .entry(route)
            .or_default() += 1;
        of_route.entry(route).or_default().insert(name);
    }
    let mut score = Score {
        n_routes: of_route.len(),
        n_groups: groups.len(),
        ..Score::default()
    };
    score.n_over_split = of_route.values().filter(|names| 1 < names.len()).count();
    for route in of_route.keys() {
        families.entry(family(api, &routes[*route])).or_default()[0] += 1;
    }
    for of in groups.values() {
        let n: usize = of.values().sum();
        score.n_calls += n;
        match of.keys().next() {
            Some(route) if of.len() == 1 && of_route[route].len() == 1 => {
                score.n_right += 1;
                score.n_calls_right += n;
                families.entry(family(api, &routes[*route])).or_default()[1] += 1;
            }
            _ if 1 < of.len() => score.n_over_merged += of.len(),
            _ => (),
        }
    }
    score
}

fn name(set: &TemplateSet, api: &str, call: &Call) -> String {
    let mut out = String::new();
    endpoint_by(
        set,
        &call.method,
        Some(host(api)),
        &call.path,
        &mut out,
        &mut Vec::new(),
    );
    out
}

fn host(api: &str) -> &str {
    api.split('/').next().unwrap_or(api)
}

fn vendor(api: &str) -> &str {
    api.split(['/', ':']).next().unwrap_or(api)
}

fn held_out(api: &str) -> bool {
    xxh3_64(vendor(api).as_bytes()) % 2 == 1
}

fn learn(api: &str, calls: &[Call]) -> TemplateSet {
    let mut learner = Learner::default();
    for call in calls {
        learner.observe(&Observation {
            method: &call.method,
            host: Some(host(api)),
            path: &call.path,
            status: Some(call.status),
            caller: call.identity,
        });
    }
    let learnt = learner.learnt();
    TemplateSet::new(
        learnt
            .templates
            .iter()
            .map(|(h, t)| (h.as_str(), t.as_str())),
        [],
    )
}

#[test]
fn learnt_templates_group_calls_by_route() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/data/datasets/dev/openapi-paths.tsv.xz"
    );
    let path = std::env::var("TOLLWATCH_ROUTES").unwrap_or(path.to_owned());
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("not measured: no {path}");
        return;
    };
    let mut tsv = String::new();
    liblzma::read::XzDecoder::new(file)
        .read_to_string(&mut tsv)
        .expect("text");
    let apis = routes(&tsv);
    for half in [false, true] {
        let mut vendors: BTreeMap<&str, [Score; 2]> = BTreeMap::new();
        let mut all = [Score::default(); 2];
        let mut families = [Families::new(), Families::new()];
        let (mut n_same, mut n_decisions) = (0usize, 0usize);
        let mut spent = [Duration::ZERO; 2];
        for (api, routes) in apis.iter().filter(|(api, _)| held_out(api) == half) {
            let n_calls = (CALLS_PER_ROUTE * routes.len()).max(2000);
            let mut past = calls(api, routes, n_calls, 1);
            let future = calls(api, routes, n_calls, 2);
            let set = learn(api, &past);
            for (i, set) in [&TemplateSet::EMPTY, &set].into_iter().enumerate() {
                spent[i] += time(set, api, &future);
                let score = score(set, api, routes, &future, &mut families[i]);
                all[i].add(&score);
                vendors.entry(vendor(api)).or_default()[i].add(&score);
            }
            shuffle(&mut past);
            let again = learn(api, &past);
            n_same += future
                .iter()
                .filter(|call| name(&set, api, call) == name(&again, api, call))
                .count();
            n_decisions += future.len();
        }
        println!(
            "{}: {} vendors",
            if half { "held out" } else { "design" },
            vendors.len()
        );
        for (i, what) in ["alone", "learnt"].iter().enumerate() {
            let mean =
                vendors.values().map(|scores| scores[i].f1()).sum::<f64>() / vendors.len() as f64;
            print(what, &all[i], mean, &families[i]);
        }
        let same = n_same as f64 / n_decisions as f64;
        let [alone, learnt] = spent.map(|spent| spent.as_nanos() / n_decisions as u128);
        println!("  {alone} ns a path alone, {learnt} ns with what was learnt");
        println!("  the same after shuffling: {same:.6}");
        // Well below what is reached, far above what looks alone give.
        assert!(0.9 < all[1].f1() && 0.999 < same);
    }
}

/// What naming every call takes.
fn time(set: &TemplateSet, api: &str, calls: &[Call]) -> Duration {
    let (mut out, mut variables) = (String::new(), Vec::new());
    let start = Instant::now();
    for call in calls {
        out.clear();
        variables.clear();
        endpoint_by(
            set,
            &call.method,
            Some(host(api)),
            &call.path,
            &mut out,
            &mut variables,
        );
    }
    start.elapsed()
}

fn shuffle(calls: &mut [Call]) {
    let mut random = Random(7);
    for i in (1..calls.len()).rev() {
        calls.swap(i, random.below(i as u64 + 1) as usize);
    }
}

fn print(what: &str, score: &Score, mean: f64, families: &Families) {
    let of_routes = |n: usize| n as f64 / score.n_routes as f64;
    println!(
        "  {what}: precision {:.4} recall {:.4} F1 {:.4} (mean of vendors {mean:.4}), calls {:.4}, over-merged {:.4}, over-split {:.4}, {} routes",
        score.precision(),
        score.recall(),
        score.f1(),
        score.n_calls_right as f64 / score.n_calls as f64,
        of_routes(score.n_over_merged),
        of_routes(score.n_over_split),
        score.n_routes,
    );
    for (family, [n, n_right]) in families {
        println!(
            "    {family}: {n_right} of {n}, {:.4}",
            *n_right as f64 / *n as f64
        );
    }
}
