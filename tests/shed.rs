//! Rules that a lane's log sheds: silent from there on, told once, and nothing else changes.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::alert::shed::RULE_SHED;
use engine::config::ModelConfig;
use engine::lane::{Lane, Outbox};
use engine::log::Log;
use engine::rule::shed::{Act, Cost, Shed};
use engine::rule::{Lookups, Rule, RuleSet, RuleTexts, Stopwatch};
use engine::stage;
use engine::state::keeper::{Restored, restore};
use engine::state::{Keeper, Place, StateError, Store};
use rdkafka::message::{Headers, Message, OwnedMessage};
use serde_json::Value;

use crate::kafka::{Deployment, free_address, one, write_to};
use crate::losses::{Watched, sum};
use crate::snapshots::{CALL, events, frozen};

/// A rule with this title over calls.
fn rule(name: &str, title: &str, suppress: &str, select: &str) -> Rule {
    let text = format!(
        "/*---
schema: rule/v1
id: 6f1c2f0e-2f62-4c0c-9f0c-{:012}
name: {name}
version: 1
title: {title}
status: stable
severity: low
description: d
suppress: {{by: [{suppress}], for: 1000d}}
---*/
{select}
",
        name.bytes().map(u64::from).sum::<u64>()
    );
    Rule::parse(Path::new(&format!("{name}.sql")), &text).expect("a rule")
}

/// Tells each path once.
fn each(title: &str) -> Rule {
    rule("each", title, "path", "SELECT path, identity FROM events")
}

/// Tells an identity that has called so often, when its window ends or at once.
fn counting(more_than: usize) -> Rule {
    let select = format!(
        "SELECT identity, window_start, window_end, count(*) AS calls
FROM TUMBLE(events, event_time, INTERVAL '100 days')
GROUP BY identity, window_start, window_end
HAVING count(*) > {more_than}"
    );
    let late = rule("counting", "t", "identity", &select);
    let early = late
        .text
        .replace("suppress:", "emit: first_crossing\nsuppress:");
    Rule::parse(Path::new("counting.sql"), &early).expect("a rule")
}

fn texts(rules: &[Rule]) -> RuleTexts {
    RuleTexts::of(&RuleSet::new(rules.to_vec()).expect("names of their own"))
}

fn fresh() -> Lane {
    let models = ModelConfig::default();
    let stage = stage::of(Log::Events, &models, &Arc::default(), 1).expect("no rules");
    let lane = Lane::new(stage, "events".into(), 0);
    lane.following(stage::compiling(&models, &Lookups::default()))
}

fn too_slow(rule: &Rule) -> Act {
    let cost = Cost {
        row_ns: 70_000,
        percent: 88,
        behind_ms: 12_000,
        row_ns_max: 5_000,
        percent_max: 25,
    };
    let shed = Shed {
        hash: rule.hash,
        cost,
    };
    Act::Shed(rule.header.name.clone(), shed)
}

#[test]
fn a_rule_that_a_log_sheds_is_silent_from_there_on_until_its_text_changes() {
    let calls: Vec<String> = (0..150)
        .map(|i| CALL.replace("/17", &format!("/{i}")))
        .collect();
    let records = events(&calls, 10);
    // Ten calls: what `each` and `counting` tell of them.
    let told = |lane: &mut Lane, at: usize| {
        let mut out = Outbox::default();
        lane.feed(at as i64, &records[at], &mut out)
            .expect("rows of the log");
        lane.flush(&mut out);
        ["each", "counting"].map(|name| out.alerts.iter().filter(|a| a.rule == name).count())
    };
    let act = |lane: &mut Lane, act: &Act| {
        let mut out = Outbox::default();
        let is_news = lane.act(77, act, &mut out).expect("compiles");
        let alerts = out.alerts.into_iter();
        (is_news, alerts.map(|alert| alert.json).collect::<Vec<_>>())
    };
    let (first, second) = (each("first"), each("second"));
    let mut lane = fresh();
    lane.follow(texts(&[first.clone(), counting(55)]), None)
        .expect("compiles");
    assert_eq!(told(&mut lane, 0), [10, 0]);

    // Shed, and told, once.
    assert_eq!(
        act(&mut lane, &too_slow(&second)),
        (false, Vec::new()),
        "of another text"
    );
    let (is_news, alerts) = act(&mut lane, &too_slow(&first));
    assert!(is_news);
    let [alert] = alerts.as_slice() else {
        panic!("{alerts:?}");
    };
    let alert: Value = serde_json::from_str(alert).expect("JSON");
    let own = &alert["unmapped"]["tollwatch"];
    assert_eq!(alert["finding_info"]["analytic"]["uid"], RULE_SHED);
    assert_eq!(alert["resources"][0]["uid"], "each");
    assert_eq!(own["rule_id"], first.header.id);
    assert_eq!(own["cost"]["row_ns"], 70_000);
    assert_eq!(own["cost"]["row_ns_max"], 5_000);
    assert_eq!(own["position"]["offset"], 77);
    assert_eq!(act(&mut lane, &too_slow(&first)), (false, Vec::new()));
    assert_eq!(told(&mut lane, 1), [0, 0]);

    // A snapshot knows it, and so does one of what changed since.
    let folder = tempfile::tempdir().expect("a folder");
    let keeper = Keeper::start(Arc::new(Store::folder(folder.path()).expect("a store")), 3);
    let keeper = keeper.expect("a thread");
    let place = Place::new("g.profile", "events", 0);
    let back = |committed| {
        let fresh = || Ok::<Lane, StateError>(fresh());
        restore(
            &keeper.store,
            &place,
            "f",
            Some(committed),
            0,
            fresh,
            Lane::load,
        )
        .expect("reads")
    };
    let mut chain = back(0).chain;
    for at in [2, 3] {
        assert_eq!(told(&mut lane, at), [0, 0]);
        let saving = keeper.save(frozen(&mut lane, chain, at + 1)).expect("room");
        let saved = saving.recv().expect("the keeper lives");
        saved.done.expect("written");
        chain = saved.chain;
    }
    let Restored { mut lane, .. } = back(4);
    assert!(lane.shed().contains_key("each"));
    assert_eq!(act(&mut lane, &too_slow(&first)), (false, Vec::new()));
    assert_eq!(told(&mut lane, 4), [0, 0]);
    // What the others count goes on.
    assert_eq!(told(&mut lane, 5), [0, 1]);

    // Another rule that changes lifts nothing, its own text does.
    lane.follow(texts(&[first.clone(), counting(1_000)]), None)
        .expect("compiles");
    assert_eq!(told(&mut lane, 6), [0, 0]);
    lane.follow(texts(&[second.clone(), counting(1_000)]), None)
        .expect("compiles");
    assert!(lane.shed().is_empty());
    assert_eq!(told(&mut lane, 7), [10, 0]);

    // So does the log, whose reader says nothing while it is muted.
    lane.mute(true);
    assert_eq!(act(&mut lane, &too_slow(&second)), (true, Vec::new()));
    lane.mute(false);
    assert_eq!(told(&mut lane, 8), [0, 0]);
    let lift = Act::Lift("each".to_owned());
    assert_eq!(act(&mut lane, &lift), (true, Vec::new()));
    assert_eq!(act(&mut lane, &lift), (false, Vec::new()));
    assert_eq!(told(&mut lane, 9), [10, 0]);
}

#[test]
fn what_a_rule_costs_is_counted_through_a_change_of_rules() {
    let records = events(&vec![CALL.to_owned(); 30], 10);
    let (mut lane, now_ns) = (fresh(), AtomicU64::new(0));
    // Each look is 7 ns after the last: every rule takes as long for every record.
    let stopwatch: Stopwatch = Arc::new(move || now_ns.fetch_add(7, Ordering::Relaxed));
    lane.follow(texts(&[each("t"), counting(5)]), None)
        .expect("compiles");
    lane.time_rules(&stopwatch);
    for (at, record) in (0..).zip(&records) {
        if at == 2 {
            lane.follow(texts(&[each("t"), counting(6)]), None)
                .expect("compiles");
        }
        lane.feed(at, record, &mut Outbox::default())
            .expect("rows of the log");
    }
    let rules = lane.stage().rules();
    let spent: Vec<(u64, u64)> = rules.iter().map(|of| (of.rows, of.spent_ns)).collect();
    assert_eq!(spent, [(30, 21), (30, 21)]);
}

/// Acts in a log.
fn acts(service: &Deployment<'_>, log: &str) -> usize {
    let is_act = |message: &&OwnedMessage| {
        let headers = message.headers();
        let mut headers = headers.into_iter().flat_map(Headers::iter);
        headers.any(|header| header.key == "tollwatch.rule.act")
    };
    let messages = service.kafka.read(&service.topic(log));
    messages.iter().filter(is_act).count()
}

#[test]
fn a_rule_that_is_truly_slow_is_shed_by_whoever_has_the_lane_and_the_others_go_on() {
    let call = |i: usize| {
        let call = CALL.replace("/17", &format!("/{i}"));
        call.replace("alice", &format!("user{}", i % 50))
            .into_bytes()
    };
    let calls = |from: usize, n: usize| (from..from + n).map(call).collect::<Vec<_>>();
    const FIRST: usize = 6_000;
    one().produce("shed", 1, &calls(0, FIRST));
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).expect("makes");
    // A table of 640,000 cells a row: about as many nanoseconds.
    let slow = rule(
        "slow",
        "t",
        "identity",
        "SELECT identity FROM events WHERE levenshtein(rpad(path, 800, 'a'), rpad(user_agent, 800, 'b')) < 0",
    );
    for rule in [&slow, &counting(3)] {
        let path = rules.join(format!("{}.sql", rule.header.name));
        std::fs::write(path, &*rule.text).expect("writes");
    }
    let config = folder.path().join("tollwatch.toml");
    let budget = "[shedding]\npercent = 1\nrow_ns = 1000\nbehind_seconds = 0\nwindow_seconds = 1\n";
    let exempt = |rules: &str| {
        let text = format!("{budget}exempt = [{rules}]\n");
        std::fs::write(&config, text).expect("writes");
    };
    // Only one of them is to be too slow, however slow this machine is.
    exempt("'counting'");
    let address = free_address();
    let options = [
        "-c",
        config.to_str().expect("text"),
        "--rules",
        rules.to_str().expect("text"),
        "--partitions",
        "1",
        "--snapshots-every-seconds",
        "1",
        "--listen",
        &address,
    ];
    let service = Deployment::new(one(), "shed-service", &["shed"], &options);
    let writer = one().cluster().writer().expect("a writer");
    let written = Cell::new(FIRST);
    let more = |n: usize| {
        write_to(&writer, "shed", written.get(), &calls(written.get(), n));
        writer.flush().expect("acknowledged");
        written.set(written.get() + n);
    };
    let has_read = |metrics: &str| {
        let n = sum(metrics, "tollwatch_rows_read_total", "profile");
        written.get() as f64 <= n
    };
    let mut run = Watched::start(service.command("run"), &address);
    run.until("the rule is shed", |metrics| {
        let is_shed = sum(metrics, "tollwatch_rules_shed", "profile") == 1.0;
        // However fast this machine is, the lane has something to fall behind with.
        if !is_shed && has_read(metrics) {
            more(FIRST);
        }
        is_shed
    });
    // Ten callers that nobody has seen before: the other rule tells them too.
    let late: Vec<Vec<u8>> = (0..40)
        .map(|i| {
            CALL.replace("alice", &format!("late{}", i % 10))
                .into_bytes()
        })
        .collect();
    write_to(&writer, "shed", written.get(), &late);
    writer.flush().expect("acknowledged");
    written.set(written.get() + late.len());
    run.until("what came behind it is read", has_read);
    run.terminate();
    service.catch_up();

    let alerts = service.alerts();
    let of = |rule: &str| {
        let of = |alert: &&Value| alert["finding_info"]["analytic"]["uid"] == rule;
        alerts.iter().filter(of).collect::<Vec<_>>()
    };
    assert_eq!(of("counting").len(), 60);
    let [alert] = of(RULE_SHED)[..] else {
        panic!("told {} times", of(RULE_SHED).len());
    };
    let own = &alert["unmapped"]["tollwatch"];
    assert_eq!(own["rule_id"], slow.header.id);
    let (row_ns, percent) = (&own["cost"]["row_ns"], &own["cost"]["percent"]);
    assert!(1_000 <= row_ns.as_u64().expect("a number"), "{own}");
    assert!(1 <= percent.as_u64().expect("a number"), "{own}");
    assert_eq!(acts(&service, "events"), 1);
    service.verify();

    // Who is asked not to shed it lifts it.
    exempt("'counting', 'slow'");
    let again = Watched::start(service.command("run"), &address);
    let began = std::time::Instant::now();
    while acts(&service, "events") < 2 {
        assert!(began.elapsed() < crate::kafka::PATIENCE, "nobody lifts it");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    again.terminate();
    service.catch_up();
    assert_eq!(service.alerts().len(), alerts.len());
    service.verify();
}
