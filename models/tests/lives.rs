//! When a check opens, and what becomes of its finding.

use models::posture::{
    CHECKS, Change, Context, Counts, Facts, Life, Phase, Standing, Tally, check,
};
use proptest::prelude::*;

fn counts(number: u8, tally: Tally, contexts: &[(Context, u64)]) -> Counts {
    let pairs = [
        (Facts::eligible(number), tally.of),
        (Facts::bad(number), tally.bad),
    ];
    let contexts = contexts
        .iter()
        .map(|(context, n)| (Facts::context(*context), *n));
    Counts::from_pairs(pairs.into_iter().filter(|pair| pair.1 != 0).chain(contexts))
}

const HOUR_MS: i64 = 3_600_000;

/// Redirects to so many other hosts.
fn redirected(n_hosts: u8) -> Counts {
    let first = Facts::context(Context::Redirected);
    Counts::from_pairs((0..n_hosts).map(|bucket| (first + bucket, 1)))
}

/// A life of check `number` that is asked hourly, with the contexts that its conditions want.
struct Watched {
    number: u8,
    tally: Tally,
    at_ms: i64,
    life: Life,
    n_identities: u64,
}

impl Watched {
    fn new(number: u8) -> Watched {
        Watched {
            number,
            tally: Tally::default(),
            at_ms: 0,
            life: Life::default(),
            n_identities: 9,
        }
    }

    fn standing<T>(&self, with: impl FnOnce(&Standing<'_>) -> T) -> T {
        let contexts = [
            (Context::Success, 1000),
            (Context::AuthenticatedSuccess, 990),
            (Context::CertificateSuccess, 990),
            (Context::TypedWrite, 100),
            (Context::JsonWrite, 100),
            (Context::TypedAnswer, 100),
            (Context::JsonAnswer, 100),
            (Context::Answered, 1000),
            (Context::AnyOrigin, 1),
        ];
        let mut counts = counts(self.number, self.tally, &contexts);
        counts.merge(&redirected(5));
        with(&Standing {
            counts: &counts,
            host: Some(&counts),
            n_identities: self.n_identities,
            at_ms: self.at_ms,
        })
    }

    /// So many calls more, an hour later.
    fn hour(&mut self, bad: u64, of: u64) -> Option<Change> {
        self.at_ms += HOUR_MS;
        (self.tally.bad, self.tally.of) = (self.tally.bad + bad, self.tally.of + of);
        let mut life = self.life.clone();
        let change = self.standing(|standing| life.observe(check(self.number), standing));
        let before = life.clone();
        let again = self.standing(|standing| life.observe(check(self.number), standing));
        assert_eq!(
            (again, &life),
            (None, &before),
            "equal input again changes nothing"
        );
        self.life = life;
        change
    }
}

#[test]
fn a_redirect_to_four_hosts_may_be_on_a_list_and_what_strangers_are_answered_is_public() {
    let opens = |number: u8, contexts: &[(Context, u64)], n_hosts: u8| {
        let mut counts = counts(number, Tally { bad: 60, of: 60 }, contexts);
        counts.merge(&redirected(n_hosts));
        let standing = Standing {
            counts: &counts,
            host: None,
            n_identities: 9,
            at_ms: HOUR_MS,
        };
        Life::default().observe(check(number), &standing) == Some(Change::Opened)
    };
    assert!(opens(44, &[], 5));
    assert!(!opens(44, &[], 4));
    let successes = |n, n_authenticated| {
        [
            (Context::Success, n),
            (Context::AuthenticatedSuccess, n_authenticated),
        ]
    };
    assert!(opens(22, &successes(100, 98), 0));
    assert!(!opens(22, &successes(100, 97), 0));
    assert!(!opens(22, &successes(19, 19), 0), "too few to tell");
}

#[test]
fn every_check_opens_at_its_bounds_and_not_below() {
    for check in CHECKS.iter().filter(|check| check.test().is_some()) {
        let test = check.test().expect("decided by calls");
        // The host of check 28 must have refused something.
        let opens = |bad: u64, n_identities: u64, clean: u64| {
            let mut watched = Watched::new(check.number);
            watched.n_identities = n_identities;
            if clean != 0 {
                watched.hour(0, clean);
            }
            watched.hour(bad, bad) == Some(Change::Opened)
        };
        let bad = (test.bad_min.max(1)..=4000)
            .find(|bad| opens(*bad, test.identities_min, test.clean_before_min));
        let bad = bad.unwrap_or_else(|| panic!("{} never opens", check.id));
        assert!(
            test.share_min != 0.0 || bad == test.bad_min,
            "{} opens at {bad}",
            check.id
        );
        assert!(
            !opens(bad - 1, test.identities_min, test.clean_before_min),
            "{}",
            check.id
        );
        if test.identities_min != 0 {
            assert!(
                !opens(bad, test.identities_min - 1, test.clean_before_min),
                "{}: one identity is a probe",
                check.id
            );
        }
        if test.clean_before_min != 0 {
            assert!(
                !opens(bad, test.identities_min, test.clean_before_min - 1),
                "{}",
                check.id
            );
        }
    }
}

#[test]
fn conditions_keep_checks_from_speaking() {
    let judged = |number: u8, tally, contexts: &[(Context, u64)], host: Option<&Counts>| {
        let counts = counts(number, tally, contexts);
        Life::default().observe(
            check(number),
            &Standing {
                counts: &counts,
                host,
                n_identities: 50,
                at_ms: 1,
            },
        )
    };
    let many = Tally { bad: 500, of: 500 };
    let host = |authenticated| {
        counts(
            1,
            Tally::default(),
            &[
                (Context::Success, 1000),
                (Context::AuthenticatedSuccess, authenticated),
            ],
        )
    };
    assert_eq!(judged(1, many, &[], Some(&host(500))), Some(Change::Opened));
    assert_eq!(
        judged(1, many, &[], Some(&host(499))),
        None,
        "an API that is open by intent"
    );
    assert_eq!(judged(1, many, &[], None), None, "a host nobody knows");
    let few = Tally { bad: 5, of: 5 };
    assert_eq!(
        judged(
            2,
            few,
            &[(Context::Success, 100), (Context::AuthenticatedSuccess, 89)],
            None
        ),
        None,
        "a page that greets"
    );
    assert_eq!(
        judged(
            2,
            few,
            &[(Context::Success, 100), (Context::AuthenticatedSuccess, 90)],
            None
        ),
        Some(Change::Opened)
    );
    assert_eq!(
        judged(21, few, &[(Context::Reflected, 5)], None),
        None,
        "one strange origin may be on a list"
    );
    let buckets: Vec<(u8, u64)> = (0..5)
        .map(|at| (Facts::context(Context::Reflected) + at, 1))
        .collect();
    let spread = Counts::from_pairs(
        buckets
            .into_iter()
            .chain([(Facts::eligible(21), 5), (Facts::bad(21), 5)]),
    );
    let standing = Standing {
        counts: &spread,
        host: None,
        n_identities: 1,
        at_ms: 1,
    };
    assert_eq!(
        Life::default().observe(check(21), &standing),
        Some(Change::Opened)
    );
    let one = Tally { bad: 1, of: 1 };
    let answers = |bad, of| counts(28, Tally { bad, of }, &[]);
    assert_eq!(
        judged(28, one, &[], Some(&answers(6, 10))),
        None,
        "a host that answers anything"
    );
    assert_eq!(
        judged(28, one, &[], Some(&answers(5, 10))),
        Some(Change::Opened)
    );
    let failing = |failed| {
        judged(
            26,
            Tally { bad: 3, of: 3 },
            &[(Context::Answered, 100), (Context::Failed, failed)],
            None,
        )
    };
    assert_eq!(
        (failing(5), failing(6)),
        (Some(Change::Opened), None),
        "broken for everybody"
    );
}

#[test]
fn a_finding_lives_from_candidate_to_regressed() {
    let mut watched = Watched::new(2);
    assert_eq!(watched.hour(0, 40), None);
    assert_eq!(
        (watched.hour(4, 4), watched.life.phase),
        (None, Phase::Candidate)
    );
    assert_eq!(
        (watched.hour(1, 1), watched.life.phase),
        (Some(Change::Opened), Phase::Open)
    );
    assert_eq!(watched.hour(1, 1), None, "not told each time");
    assert_eq!(watched.hour(44, 44), Some(Change::Grew), "tenfold");
    watched.at_ms += 24 * HOUR_MS;
    assert_eq!(watched.hour(1, 1), Some(Change::StillSeen), "once a day");
    assert_eq!(watched.hour(1, 1), None);
    watched.at_ms += 7 * 24 * HOUR_MS;
    assert_eq!(
        (watched.hour(0, 0), watched.life.phase),
        (Some(Change::Stale), Phase::Stale),
        "nobody asked"
    );
    assert_eq!(
        (watched.hour(1, 1), watched.life.phase),
        (Some(Change::StillSeen), Phase::Open)
    );
    let (_, needed) = watched.life.contrary();
    assert!(20 <= needed, "{needed}");
    assert_eq!(watched.hour(0, needed - 1), None);
    assert_eq!(
        (watched.hour(0, 1), watched.life.phase),
        (Some(Change::Resolved), Phase::Resolved)
    );
    assert_eq!(watched.hour(0, 5000), None);
    assert_eq!(watched.hour(4, 4), None, "less than a finding");
    assert_eq!(
        (watched.hour(1, 1), watched.life.n_regressed),
        (Some(Change::Regressed), 1)
    );
    let (_, again) = watched.life.contrary();
    assert!(
        2 * 20 <= again,
        "more is asked of one that came back: {again}"
    );
}

#[test]
fn a_candidate_that_is_refuted_is_forgotten_and_a_day_of_silence_refutes_nothing() {
    let mut watched = Watched::new(12);
    watched.number = 2;
    watched.hour(1, 1);
    for _ in 0..1000 {
        assert_eq!(watched.hour(0, 0), None);
    }
    assert_eq!(watched.life.phase, Phase::Candidate);
    watched.hour(0, 20);
    assert_eq!(watched.life.phase, Phase::Quiet);
    assert_eq!(
        watched.hour(4, 4),
        None,
        "the first is forgotten: four are not five"
    );
}

#[test]
fn a_login_that_was_dropped_is_told_though_most_callers_go_on_to_log_in() {
    // Check 3: one stranger among twenty and more callers with credentials, hour after hour.
    let mut watched = Watched::new(3);
    assert_eq!(watched.hour(0, 600), None);
    let told: Vec<Option<Change>> = (0..5).map(|_| watched.hour(1, 26)).collect();
    assert_eq!(told, [None, None, None, None, Some(Change::Opened)]);
    // Without that past it is none, however many follow.
    let mut watched = Watched::new(3);
    assert_eq!(watched.hour(0, 400), None);
    assert!((0..40).all(|_| watched.hour(1, 26).is_none()));
}

#[test]
fn counts_that_begin_anew_change_nothing() {
    let mut watched = Watched::new(2);
    watched.hour(9, 9);
    watched.tally = Tally::default();
    assert_eq!(
        (watched.hour(0, 3), watched.life.phase),
        (None, Phase::Open)
    );
    assert_eq!(watched.hour(0, 10_000), Some(Change::Resolved));
}

/// Times a fault of that rate was taken for mended in a life of 20,000 calls, asked after each batch.
fn wrongly_resolved(number: u8, rate: f64, batch: u64, seed: u64) -> u32 {
    let mut watched = Watched::new(number);
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ batch;
    let mut shows = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((random >> 11) as f64 / (1u64 << 53) as f64) < rate
    };
    let mut wrong = 0;
    for _ in 0..20_000 / batch {
        let bad = (0..batch).filter(|_| shows()).count() as u64;
        wrong += u32::from(watched.hour(bad, batch) == Some(Change::Resolved));
    }
    wrong
}

#[test]
fn a_steady_fault_seldom_seems_mended_and_never_flaps() {
    for (number, per_life) in [(12, 0.5), (2, 0.1)] {
        let (mut n_wrong, mut n_lives) = (0, 0);
        for (rate, batch) in [
            (0.5, 1),
            (0.1, 1),
            (0.03, 7),
            (0.01, 1),
            (0.01, 50),
            (0.003, 20),
        ] {
            let wrong: Vec<u32> = (0..40)
                .map(|seed| wrongly_resolved(number, rate, batch, seed))
                .collect();
            let (sum, most) = (wrong.iter().sum::<u32>(), wrong.iter().max());
            println!(
                "check {number}, rate {rate} in batches of {batch}: {sum} in 40 lives, at most {most:?}"
            );
            assert!(
                most <= Some(&2),
                "check {number}, rate {rate}, batch {batch}"
            );
            n_wrong += sum;
            n_lives += 40;
        }
        assert!(
            f64::from(n_wrong) <= per_life * f64::from(n_lives),
            "check {number}: {n_wrong} in {n_lives}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_resolves_without_contrary_evidence(hours in prop::collection::vec((0u64..4, 0u64..40, any::<bool>()), 1..60), number in prop::sample::select(vec![1u8, 2, 3, 12, 14, 28, 46])) {
        let mut watched = Watched::new(number);
        let mut pause = 0;
        for (bad, clean, silent) in hours {
            let (bad, of) = if silent { (0, 0) } else { (bad, bad + clean) };
            let change = watched.hour(bad, of);
            pause = if bad == 0 { pause + of } else { 0 };
            if change == Some(Change::Resolved) {
                prop_assert!(20 <= pause && bad == 0, "after {pause}");
            }
            if silent {
                prop_assert!(matches!(change, None | Some(Change::Stale)));
            }
        }
    }

    #[test]
    fn counts_merged_in_any_order_give_one_life(parts in prop::collection::vec((0u64..30, 0u64..30), 1..12), seed in any::<u64>()) {
        let one = |order: &[(u64, u64)]| {
            let mut merged = Counts::default();
            order.iter().for_each(|(bad, clean)| merged.merge(&counts(12, Tally { bad: *bad, of: bad + clean }, &[])));
            let mut life = Life::default();
            let change = life.observe(check(12), &Standing { counts: &merged, host: None, n_identities: 3, at_ms: 5 });
            (life, change)
        };
        let mut shuffled = parts.clone();
        shuffled.sort_by_key(|part| (part.0 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        prop_assert_eq!(one(&parts), one(&shuffled));
    }

    #[test]
    fn lives_are_adopted_in_any_order(parts in prop::collection::vec(prop::collection::vec((0u64..4, 0u64..30), 0..9), 3)) {
        let lives: Vec<Life> = parts.iter().map(|hours| {
            let mut watched = Watched::new(12);
            hours.iter().for_each(|(bad, clean)| { watched.hour(*bad, bad + clean); });
            watched.life
        }).collect();
        let merged = |order: [usize; 3]| {
            let mut life = lives[order[0]].clone();
            life.absorb(&lives[order[1]]);
            life.absorb(&lives[order[2]]);
            life
        };
        prop_assert_eq!(merged([0, 1, 2]), merged([2, 0, 1]));
        let mut right = lives[1].clone();
        right.absorb(&lives[2]);
        let mut whole = lives[0].clone();
        whole.absorb(&right);
        prop_assert_eq!(merged([0, 1, 2]), whole);
    }
}
