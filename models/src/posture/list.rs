//! The checks, each declared once: who looks for what is wrong with an API reads them here.

mod access;
mod exposure;

use super::check::{CHECKS_MAX, Check};

/// All checks, by number.
pub const CHECKS: [&Check; CHECKS_MAX] = {
    let mut checks = [&access::CHECKS[0]; CHECKS_MAX];
    let mut at = 0;
    while at < CHECKS_MAX {
        checks[at] = if at < access::CHECKS.len() {
            &access::CHECKS[at]
        } else {
            &exposure::CHECKS[at - access::CHECKS.len()]
        };
        at += 1;
    }
    checks
};

/// The check of a number from 1.
///
/// # Panics
/// There is no such check: numbers come from the list.
pub fn check(number: u8) -> &'static Check {
    CHECKS[usize::from(number) - 1]
}

/// The check of that id.
pub fn find(id: &str) -> Option<&'static Check> {
    CHECKS.into_iter().find(|check| check.id == id)
}
