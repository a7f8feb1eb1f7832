//! What measures and assumptions come to: each number low, base and high, or what it lacks.
//!
//! **Invariant**: no number without every assumption of it. A low benefit is made of low values, and the low balance of low benefits
//! less high costs, so that the ends are ends.

use super::assumptions::Assumptions;
use super::measured::{Measure, value};

const DAYS_A_YEAR: f64 = 365.0;
const MONTHS_A_YEAR: f64 = 12.0;
const HOURS_A_DAY: f64 = 24.0;

/// A range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::command) struct Estimate {
    pub(in crate::command) low: f64,
    pub(in crate::command) base: f64,
    pub(in crate::command) high: f64,
}

impl Estimate {
    fn exact(value: f64) -> Estimate {
        Estimate {
            low: value,
            base: value,
            high: value,
        }
    }

    /// Both not negative.
    fn times(self, other: Estimate) -> Estimate {
        Estimate {
            low: self.low * other.low,
            base: self.base * other.base,
            high: self.high * other.high,
        }
    }

    fn plus(self, other: Estimate) -> Estimate {
        Estimate {
            low: self.low + other.low,
            base: self.base + other.base,
            high: self.high + other.high,
        }
    }

    /// The ends change sides.
    fn minus(self, other: Estimate) -> Estimate {
        Estimate {
            low: self.low - other.high,
            base: self.base - other.base,
            high: self.high - other.low,
        }
    }
}

/// What a number is counted in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Money,
    Days,
}

/// One number.
pub(in crate::command) struct Modelled {
    pub(in crate::command) id: &'static str,
    pub(in crate::command) what: &'static str,
    pub(in crate::command) formula: &'static str,
    /// Or what is missing.
    pub(in crate::command) estimate: Result<Estimate, String>,
    unit: Unit,
}

impl Modelled {
    /// Its unit; the currency as the assumptions name it.
    pub(in crate::command) fn unit<'a>(&self, currency: &'a str) -> &'a str {
        match self.unit {
            Unit::Money => currency,
            Unit::Days => "days",
        }
    }
}

/// What is multiplied.
struct Known<'a> {
    measures: &'a [Measure],
    assumptions: &'a Assumptions,
}

impl Known<'_> {
    /// A measured number.
    fn measured(&self, id: &str) -> Result<Estimate, String> {
        let exact = value(self.measures, id).map(Estimate::exact);
        exact.ok_or_else(|| format!("`{id}` was not measured"))
    }

    /// An assumption.
    fn assumed(&self, name: &str) -> Result<Estimate, String> {
        let one = self.assumptions.get(name);
        let one = one.map(|one| Estimate {
            low: one.low,
            base: one.base,
            high: one.high,
        });
        one.ok_or_else(|| format!("`{name}` is not filled in"))
    }

    /// The product of a measured number, assumptions and a factor.
    fn product(&self, measured: &str, assumed: &[&str], factor: f64) -> Result<Estimate, String> {
        let start = self.measured(measured)?.times(Estimate::exact(factor));
        assumed.iter().try_fold(
            start,
            |product, name| Ok(product.times(self.assumed(name)?)),
        )
    }
}

/// Every number, in the order in which it is told.
pub(super) fn modelled(measures: &[Measure], assumptions: &Assumptions) -> Vec<Modelled> {
    let known = Known {
        measures,
        assumptions,
    };
    let money = |id, what, formula, estimate| Modelled {
        id,
        what,
        formula,
        estimate,
        unit: Unit::Money,
    };
    let days = value(measures, "days").unwrap_or(0.0);
    let by_hand = known.product(
        "endpoints",
        &["hours_per_endpoint", "engineer_hour", "reviews_per_year"],
        days / DAYS_A_YEAR,
    );
    let reviewed = known.product("findings", &["hours_per_finding", "engineer_hour"], 1.0);
    let avoided = known.product(
        "alerts",
        &["share_real", "share_breach", "breach_cost"],
        1.0,
    );
    let triage = known.product("alerts", &["minutes_per_alert", "analyst_hour"], 1.0 / 60.0);
    let running = known.product("days", &["running_month"], MONTHS_A_YEAR / DAYS_A_YEAR);
    let balance = balance(&[&by_hand, &reviewed, &avoided], &[&triage, &running]);
    vec![
        Modelled {
            id: "days_sooner",
            what: "an endpoint is known sooner than by reviews",
            formula: "365 / reviews_per_year / 2 - discovery_p50",
            estimate: sooner(&known),
            unit: Unit::Days,
        },
        money(
            "inventory_by_hand",
            "work of an inventory by hand",
            "endpoints * hours_per_endpoint * engineer_hour * reviews_per_year * days / 365",
            by_hand,
        ),
        money(
            "review_by_hand",
            "work of reviews by hand",
            "findings * hours_per_finding * engineer_hour",
            reviewed,
        ),
        money(
            "breaches_avoided",
            "breaches avoided, if the shares hold",
            "alerts * share_real * share_breach * breach_cost",
            avoided,
        ),
        money(
            "triage_cost",
            "cost: work on alerts",
            "alerts * minutes_per_alert / 60 * analyst_hour",
            triage,
        ),
        money(
            "running_cost",
            "cost: running it",
            "running_month * days * 12 / 365",
            running,
        ),
        money(
            "balance",
            "balance: benefits that are estimated, less both costs",
            "inventory_by_hand + review_by_hand + breaches_avoided - triage_cost - running_cost",
            balance,
        ),
    ]
}

/// Half of the time between two reviews, less what discovery took.
fn sooner(known: &Known<'_>) -> Result<Estimate, String> {
    let reviews = known.assumed("reviews_per_year")?;
    let took = known
        .measured("discovery_p50")?
        .times(Estimate::exact(1.0 / HOURS_A_DAY));
    if reviews.low <= 0.0 {
        return Err(
            "`reviews_per_year` may be none: then nothing would be known at all".to_owned(),
        );
    }
    let wait = |reviews: f64| DAYS_A_YEAR / reviews / 2.0;
    let wait = Estimate {
        low: wait(reviews.high),
        base: wait(reviews.base),
        high: wait(reviews.low),
    };
    Ok(wait.minus(took))
}

/// Benefits less costs. A benefit that is not estimated counts nothing; without both costs there is no balance.
fn balance(
    benefits: &[&Result<Estimate, String>],
    costs: &[&Result<Estimate, String>],
) -> Result<Estimate, String> {
    let sum = |estimates: &mut dyn Iterator<Item = Estimate>| {
        estimates.fold(Estimate::exact(0.0), Estimate::plus)
    };
    let costs: Vec<Estimate> = costs.iter().copied().cloned().collect::<Result<_, _>>()?;
    let benefits: Vec<Estimate> = benefits
        .iter()
        .filter_map(|one| one.as_ref().ok().copied())
        .collect();
    if benefits.is_empty() {
        return Err("no benefit is estimated".to_owned());
    }
    Ok(sum(&mut benefits.into_iter()).minus(sum(&mut costs.into_iter())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures(values: &[(&'static str, Option<f64>)]) -> Vec<Measure> {
        let measure = |(id, value): &(&'static str, Option<f64>)| Measure {
            id,
            what: "",
            value: *value,
            unit: "",
            query: String::new(),
            lacking: "",
        };
        values.iter().map(measure).collect()
    }

    fn of<'a>(all: &'a [Modelled], id: &str) -> &'a Result<Estimate, String> {
        &all.iter()
            .find(|one| one.id == id)
            .expect("a number")
            .estimate
    }

    const MEASURED: [(&str, Option<f64>); 5] = [
        ("days", Some(36.5)),
        ("endpoints", Some(100.0)),
        ("findings", Some(10.0)),
        ("alerts", Some(6.0)),
        ("discovery_p50", Some(0.0)),
    ];

    #[test]
    fn without_assumptions_nothing_is_estimated() {
        let all = modelled(&measures(&MEASURED), &Assumptions::default());
        assert!(
            all.iter().all(|one| one.estimate.is_err()),
            "a default that flatters"
        );
    }

    #[test]
    fn numbers_are_those_of_their_formulas_and_the_ends_are_ends() {
        let range = |name: &str, low: f64, base: f64, high: f64| {
            format!("[{name}]\nlow = {low}\nbase = {base}\nhigh = {high}\nsource = 'yours'\n")
        };
        let mut text = range("engineer_hour", 50.0, 100.0, 200.0)
            + &range("hours_per_endpoint", 1.0, 2.0, 2.0)
            + &range("reviews_per_year", 1.0, 2.0, 4.0)
            + &range("analyst_hour", 60.0, 60.0, 120.0);
        let all = |text: &str| {
            let assumptions = Assumptions::parse(text).expect("assumptions");
            modelled(&measures(&MEASURED), &assumptions)
        };
        let estimate = |low, base, high| Ok(Estimate { low, base, high });
        let first = all(&text);
        assert_eq!(
            of(&first, "inventory_by_hand"),
            &estimate(500.0, 4000.0, 16_000.0)
        );
        assert_eq!(of(&first, "days_sooner"), &estimate(45.625, 91.25, 182.5));
        let lacking = |id: &str| of(&first, id).clone().expect_err("not estimated");
        assert_eq!(
            lacking("triage_cost"),
            "`minutes_per_alert` is not filled in"
        );
        assert_eq!(
            lacking("balance"),
            lacking("triage_cost"),
            "no balance without its costs"
        );
        text += &range("minutes_per_alert", 10.0, 20.0, 30.0);
        text += &range("running_month", 100.0, 100.0, 1000.0);
        let second = all(&text);
        assert_eq!(of(&second, "triage_cost"), &estimate(60.0, 120.0, 360.0));
        let balance = of(&second, "balance").clone().expect("estimated");
        assert!(
            (balance.low - (500.0 - 360.0 - 1200.0)).abs() < 1e-9,
            "{balance:?}"
        );
        assert!(
            (balance.high - (16_000.0 - 60.0 - 120.0)).abs() < 1e-9,
            "{balance:?}"
        );
        let unread = modelled(
            &measures(&[("alerts", None)]),
            &Assumptions::parse(&text).expect("assumptions"),
        );
        assert_eq!(
            of(&unread, "triage_cost").clone().expect_err("no alerts"),
            "`alerts` was not measured"
        );
    }
}
