//! How far a count can be from what it estimates: 95 % intervals of shares and of rates.

/// Wilson's 95 % interval of a share of `n`.
pub fn wilson(found: usize, n: usize) -> (f64, f64) {
    const Z: f64 = 1.96;
    let (n, share) = (n.max(1) as f64, found as f64 / n.max(1) as f64);
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // Of none the lower end is nothing, but for rounding.
    (((middle - half) / scale).max(0.0), (middle + half) / scale)
}

/// The exact 95 % interval of the mean of a Poisson count.
///
/// * Source: F. Garwood, *Fiducial limits for the Poisson distribution*, 1936: the means at which so many or more, and so many or
///   fewer, have a probability of 1 in 40.
pub fn poisson(n: usize) -> (f64, f64) {
    const TAIL: f64 = 0.025;
    // No interval of 95 % reaches beyond ten standard deviations.
    let far = n as f64 + 10.0 * (n as f64).sqrt() + 10.0;
    let low = match n {
        0 => 0.0,
        n => falls_to(1.0 - TAIL, far, |mean| at_most(n - 1, mean)),
    };
    (low, falls_to(TAIL, far, |mean| at_most(n, mean)))
}

/// Probability of `n` or fewer, of a Poisson count with this mean.
fn at_most(n: usize, mean: f64) -> f64 {
    if mean <= 0.0 {
        return 1.0;
    }
    // In logarithms: e^-mean is nothing beyond 745.
    let (mut term_ln, mut sum) = (-mean, 0.0);
    for k in 0..=n {
        if 0 < k {
            term_ln += mean.ln() - (k as f64).ln();
        }
        sum += term_ln.exp();
    }
    sum.min(1.0)
}

/// Where a function that falls from 1 at 0 comes to `level`, up to `far`.
fn falls_to(level: f64, far: f64, of: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, far);
    // Halved until doubles end.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match of(middle) > level {
            true => low = middle,
            false => high = middle,
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval_is_that_of_the_tables() {
        let (low, high) = wilson(8, 10);
        assert!(
            (low - 0.490).abs() < 0.001 && (high - 0.943).abs() < 0.001,
            "{low} {high}"
        );
        let (low, high) = wilson(0, 10);
        assert!(
            low.abs() < 1e-12 && (high - 0.278).abs() < 0.001,
            "{low} {high}"
        );
    }

    #[test]
    fn the_interval_of_a_count_is_that_of_the_tables() {
        // Nothing counted: the mean at which nothing has 1 in 40, -ln 0.025. The others are Garwood's table.
        for (n, low, high) in [
            (0, 0.0, 3.689),
            (1, 0.0253, 5.572),
            (5, 1.623, 11.668),
            (10, 4.795, 18.390),
            (100, 81.364, 121.627),
        ] {
            let (a, b) = poisson(n);
            assert!(
                (a - low).abs() < 0.001 && (b - high).abs() < 0.001,
                "{n}: {a} {b}"
            );
        }
        // By the normal approximation, n + 2 -+ 1.96 sqrt(n): no underflow far out.
        let (low, high) = poisson(2_000);
        assert!(
            (low - 1_913.0).abs() < 2.0 && (high - 2_090.0).abs() < 2.0,
            "{low} {high}"
        );
    }
}
