//! No single raw field separates attacks from benign calls of the same endpoints.
//!
//! Statistic: for every value (or bucket) `v` of a field, the share of attack rows that have it less the share of benign rows that
//! have it, *within the endpoint*; the largest over `v` with at least a twentieth of the attack rows is the field's advantage, which is
//! what a one-value rule gains over chance. For numbers also the area under the ROC curve, within the endpoint. Rows are weighted:
//! every episode counts once, and of an endpoint's benign rows every caller counts once, or else one walker would be the benign
//! traffic. Episodes of the quiet bands 3 to 5 over several worlds.
//!
//! Exempt, because they *are* the attack:
//! - `request_uri`, `request_body`: which object is asked for; kinds of the families `probing`, `bfla` and `agent`'s tools have
//!   endpoints of their own and so no benign rows to be compared with.
//! - `jwt_sub`, `jwt_claims`, `auth_sha256_16`, `request_id`, `mcp_session`: who calls. Values are compared by their form instead.
//! - `remote_addr`: compared by prefix.
//!
//! `status` is not exempt, though on refused objects it is the policy's answer: those kinds are too few to lift it.

use std::collections::{BTreeMap, BTreeSet};

use world::attacks::Episode;
use world::log;
use world::play;
use world::scribe::Call;
use world::world::{Options, World};

/// Share of the attack rows from which on a value is looked at.
const SHARE_MIN: f64 = 0.05;
/// The advantage allowed. Some two hundred episodes leave about 0.03 of chance to a value that every second row has.
const ADVANTAGE_MAX: f64 = 0.1;
/// How far an area under the curve may lie from a half.
const AREA_OFF_MAX: f64 = 0.1;

struct Row {
    endpoint: (u64, u32),
    /// Episode of an attack row; caller of a benign one.
    whose: (u64, u64),
    is_attack: bool,
    categories: Vec<(&'static str, String)>,
    numbers: Vec<(&'static str, f64)>,
}

/// Rows, each with its weight.
type Weighted = Vec<(Row, f64)>;

/// The raw fields of a line as a rule would see them.
fn row(world: &World, episodes: &[Episode], call: &Call, nth: u64, length: usize) -> Row {
    let device = &world.actors[call.by.machine as usize].devices[usize::from(call.by.device)];
    let agent = device
        .agent
        .split(['/', ' '])
        .next()
        .unwrap_or_default()
        .to_owned();
    let minute = call.end_ms.div_euclid(60_000).rem_euclid(60);
    let hour = call.end_ms.div_euclid(3_600_000).rem_euclid(24);
    let has = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let seed = world.options.seed;
    Row {
        endpoint: (seed, call.request.endpoint()),
        whose: (
            seed,
            if call.by.episode > 0 {
                u64::from(call.by.episode)
            } else {
                u64::from(call.by.actor)
            },
        ),
        is_attack: call.by.episode > 0 && episodes[usize::from(call.by.episode) - 1].band >= 3,
        categories: vec![
            ("user_agent, whole", device.agent.clone()),
            ("user_agent, first word", agent),
            ("address, /8", (call.by.address >> 24).to_string()),
            ("address, /16", (call.by.address >> 16).to_string()),
            ("minute of the hour, by 10", (minute / 10).to_string()),
            (
                "second of the minute, by 10",
                (call.end_ms.div_euclid(10_000) % 6).to_string(),
            ),
            ("millisecond, last digit", (call.end_ms % 10).to_string()),
            ("hour of the day, by 6", (hour / 6).to_string()),
            (
                "latency, by doubling",
                (call.latency_ms.log2() as i64).to_string(),
            ),
            (
                "bytes, by doubling",
                ((call.bytes.max(1) as f64).log2() as i64).to_string(),
            ),
            ("referer is there", has(device.is_browser)),
            (
                "origin is there",
                has(device.is_browser && call.request.method != "GET"),
            ),
            ("session is there", has(call.by.session != 0)),
            ("body is there", has(!call.request.body.is_empty())),
            ("method", call.request.method.to_owned()),
            ("status", call.status.to_string()),
            ("line, last digit", (nth % 10).to_string()),
            ("token, first digit", format!("{:x}", call.by.token >> 60)),
        ],
        numbers: vec![
            ("latency", call.latency_ms),
            ("bytes", call.bytes as f64),
            ("minute of the hour", minute as f64),
            ("line length", length as f64),
        ],
    }
}

/// Rows of several worlds: all of quiet episodes, and the benign ones of the same endpoints, with weights that sum to one each.
fn rows(seeds: std::ops::Range<u64>) -> (Weighted, Weighted) {
    let mut all = Vec::new();
    for seed in seeds {
        let options = Options {
            seed,
            days: 5,
            callers: 220,
            episodes: Some(40),
            ..Options::default()
        };
        let world = World::draw(&options);
        let (mut nth, mut line) = (0, String::new());
        play::play(&world, |episodes, call| {
            line.clear();
            log::write(&world, call, nth, &mut line);
            let row = row(&world, episodes, call, nth, line.len());
            nth += 1;
            if row.is_attack || call.by.episode == 0 {
                all.push(row);
            }
            Ok(())
        })
        .expect("nothing is written");
    }
    let mut callers = BTreeMap::<(u64, u32), BTreeMap<(u64, u64), f64>>::new();
    for row in all.iter().filter(|row| !row.is_attack) {
        *callers
            .entry(row.endpoint)
            .or_default()
            .entry(row.whose)
            .or_default() += 1.0;
    }
    // An endpoint that few call is no comparison.
    callers.retain(|_, callers| callers.len() >= 8);
    let (attacks, benign): (Vec<Row>, Vec<Row>) = all
        .into_iter()
        .filter(|row| callers.contains_key(&row.endpoint))
        .partition(|row| row.is_attack);
    let mut of_episode = BTreeMap::<(u64, u64), f64>::new();
    for row in &attacks {
        *of_episode.entry(row.whose).or_default() += 1.0;
    }
    let n_episodes = of_episode.len() as f64;
    let mut of_endpoint = BTreeMap::<(u64, u32), f64>::new();
    let attacks: Vec<(Row, f64)> = attacks
        .into_iter()
        .map(|row| {
            let weight = 1.0 / of_episode[&row.whose] / n_episodes;
            *of_endpoint.entry(row.endpoint).or_default() += weight;
            (row, weight)
        })
        .collect();
    let benign = benign
        .into_iter()
        .filter_map(|row| {
            let share = of_endpoint.get(&row.endpoint)?;
            let callers = &callers[&row.endpoint];
            let weight = share / callers.len() as f64 / callers[&row.whose];
            Some((row, weight))
        })
        .collect();
    (attacks, benign)
}

/// The best one-value rule: value, share of attacks it finds, share of benign rows it hits.
fn best(attacks: &[(Row, f64)], benign: &[(Row, f64)], nth: usize) -> (String, f64, f64) {
    let shares = |rows: &[(Row, f64)]| {
        let mut shares = BTreeMap::<String, f64>::new();
        for (row, weight) in rows {
            *shares.entry(row.categories[nth].1.clone()).or_default() += weight;
        }
        shares
    };
    let (found, hit) = (shares(attacks), shares(benign));
    let rule = |(value, found): (&String, &f64)| {
        (
            value.clone(),
            *found,
            hit.get(value).copied().unwrap_or_default(),
        )
    };
    let rules = found
        .iter()
        .filter(|(_, found)| **found >= SHARE_MIN)
        .map(rule);
    rules
        .max_by(|a, b| (a.1 - a.2).total_cmp(&(b.1 - b.2)))
        .unwrap_or_default()
}

/// Area under the curve of a number, endpoint by endpoint.
fn area(attacks: &[(Row, f64)], benign: &[(Row, f64)], nth: usize) -> f64 {
    let endpoints: BTreeSet<(u64, u32)> = attacks.iter().map(|(row, _)| row.endpoint).collect();
    let (mut sum, mut total) = (0.0, 0.0);
    for endpoint in endpoints {
        let of = |rows: &[(Row, f64)]| -> Vec<(f64, f64)> {
            rows.iter()
                .filter(|(row, _)| row.endpoint == endpoint)
                .map(|(row, weight)| (row.numbers[nth].1, *weight))
                .collect()
        };
        let (these, mut those) = (of(attacks), of(benign));
        those.sort_by(|a, b| a.0.total_cmp(&b.0));
        let whole: f64 = those.iter().map(|(_, weight)| weight).sum();
        for (number, weight) in these {
            let below: f64 = those
                .iter()
                .take_while(|(n, _)| *n < number)
                .map(|(_, w)| w)
                .sum();
            let same: f64 = those
                .iter()
                .skip_while(|(n, _)| *n < number)
                .take_while(|(n, _)| *n == number)
                .map(|(_, w)| w)
                .sum();
            sum += weight * (below + same / 2.0) / whole;
            total += weight;
        }
    }
    sum / total
}

#[test]
fn no_single_field_separates_quiet_attacks() {
    let (attacks, benign) = rows(100..110);
    let episodes: BTreeSet<(u64, u64)> = attacks.iter().map(|(row, _)| row.whose).collect();
    assert!(
        episodes.len() >= 100,
        "{} episodes are too few to tell",
        episodes.len()
    );
    let mut told = Vec::new();
    for nth in 0..attacks[0].0.categories.len() {
        let name = attacks[0].0.categories[nth].0;
        let (value, found, hit) = best(&attacks, &benign, nth);
        eprintln!(
            "{name:30} advantage {:+.3}: {value:?} finds {found:.3}, hits {hit:.3}",
            found - hit
        );
        if found - hit > ADVANTAGE_MAX {
            told.push(name);
        }
    }
    for nth in 0..attacks[0].0.numbers.len() {
        let name = attacks[0].0.numbers[nth].0;
        let area = area(&attacks, &benign, nth);
        eprintln!("{name:30} area under the curve {area:.3}");
        if (area - 0.5).abs() > AREA_OFF_MAX {
            told.push(name);
        }
    }
    assert!(told.is_empty(), "{told:?} tell the attacks");
}

#[test]
fn a_planted_artefact_is_told() {
    let (mut attacks, benign) = rows(100..103);
    for (row, _) in &mut attacks {
        if row.whose.1 % 4 == 0 {
            row.categories[0].1 = "curl/8.5".to_owned();
            row.numbers[0].1 *= 3.0;
        } else {
            row.numbers[0].1 *= 1.3;
        }
    }
    let (value, found, hit) = best(&attacks, &benign, 0);
    assert!(
        value == "curl/8.5" && found - hit > ADVANTAGE_MAX,
        "{value} {found} {hit}"
    );
    let area = area(&attacks, &benign, 0);
    assert!((area - 0.5).abs() > AREA_OFF_MAX, "{area}");
}
