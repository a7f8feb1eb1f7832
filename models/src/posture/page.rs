//! The list of checks as Markdown: what `docs/posture.md` holds and a report prints.

use std::fmt::Write as _;

use super::answer::Answer;
use super::check::{Check, Decided, NOT_LOGGED};
use super::list::CHECKS;
use crate::compliance;

/// The checks as Markdown: a table of all, then a paragraph of each that calls decide, then those that they don't.
pub fn checks_page() -> String {
    let mut page = String::new();
    let by = |is: fn(&Check) -> bool| CHECKS.into_iter().filter(move |check| is(check));
    let n = |is| by(is).count();
    let (calls, elsewhere) = (
        n(|check| check.test().is_some()),
        n(|check| matches!(check.decided, Decided::Elsewhere(_))),
    );
    let _ = writeln!(
        page,
        "{} checks: {calls} decided by calls, {elsewhere} by the inventory, {} that a log can't show.\n",
        CHECKS.len(),
        CHECKS.len() - calls - elsewhere
    );
    page.push_str(
        "| # | id | check | severity | tier | about | needs |\n|---|---|---|---|---|---|---|\n",
    );
    for check in CHECKS {
        let _ = writeln!(
            page,
            "| {} | `{}` | {} | {} | {} | {} | {} |",
            check.number,
            check.id,
            check.title,
            check.severity.as_str(),
            check.tier.as_str(),
            check.scope.as_str(),
            columns(check),
        );
    }
    page.push_str(
        "\n† No column of the events carries it. Headers of answers are bits of the column `answer`.\n",
    );
    page.push_str("\n### Decided by calls\n");
    by(|check| check.test().is_some()).for_each(|check| describe(check, &mut page));
    page.push_str("\n### What the column `answer` holds\n\nThe sum of these, and from 2^24 on the bucket, of eight, that the hash of the host it sends to is in.\n\n| bit | value | says |\n|---|---|---|\n");
    for (traits, says) in Answer::TRAITS {
        let value = traits.bits();
        let _ = writeln!(page, "| {} | {value} | {says} |", value.trailing_zeros());
    }
    page.push_str("\n### Decided elsewhere, or not by a log\n\n| # | check | why | what to do |\n|---|---|---|---|\n");
    for check in CHECKS {
        if let Decided::Elsewhere(reason) | Decided::NotObservable(reason) = check.decided {
            let _ = writeln!(
                page,
                "| {} | {} | {reason} | {} |",
                check.number, check.title, check.remedy
            );
        }
    }
    page
}

/// The columns a check needs, those marked that there are not.
pub(crate) fn columns(check: &Check) -> String {
    let name = |column: &&str| {
        format!(
            "`{column}`{}",
            if NOT_LOGGED.contains(column) {
                " †"
            } else {
                ""
            }
        )
    };
    check.needs.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn describe(check: &Check, page: &mut String) {
    let Some(test) = check.test() else { return };
    let calls = if test.bad_min == 1 { "call" } else { "calls" };
    let mut opens = vec![format!("{} {calls}", test.bad_min)];
    if 1 < test.identities_min {
        opens.push(format!("{} identities", test.identities_min));
    }
    if 0.0 < test.share_min {
        opens.push(format!(
            "a share whose 95 % interval lies above {} %",
            test.share_min * 100.0
        ));
    }
    if 0 < test.clean_before_min {
        opens.push(format!("{} clean calls before", test.clean_before_min));
    }
    let _ = write!(
        page,
        "\n**{}. `{}`**: {}.\nShown by {}. Contrary: {}. Opens at {}{}.\n\n{} *{}*\n",
        check.number,
        check.id,
        check.title,
        check.bad,
        check.contrary,
        opens.join(", "),
        if test.guards.is_empty() {
            ""
        } else {
            ", under the condition below"
        },
        check.quiet,
        check.remedy,
    );
    if let Some(standards) = compliance::find(check.finding) {
        let _ = writeln!(page, "\n{}", standards.line());
    }
}
