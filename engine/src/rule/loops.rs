//! No loops: a rule over `alerts` sees no alerts of rules over `alerts`, so one that asks for them by name would never fire.
//!
//! Names are looked for among the texts of the SELECT, wherever they stand: beside `rule` in WHERE, in a list, in DEFINE.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::{Catalog, Rule, RuleFault, RuleSet, reads};

/// The faults of rules over `table` that ask for the alerts of rules over it.
pub fn faults(rules: &RuleSet, catalog: &Catalog, table: &str) -> Vec<RuleFault> {
    // What reads it has its name; only those are planned.
    let those = rules.rules.iter().filter(|rule| rule.sql.contains(table));
    let reads_it =
        |rule: &&std::sync::Arc<Rule>| reads(rule, catalog).is_ok_and(|reads| reads.table == table);
    let those: Vec<_> = those.filter(reads_it).collect();
    let fault = |rule: &std::sync::Arc<Rule>| {
        let texts = texts(&rule.sql);
        let asked = those
            .iter()
            .map(|rule| &rule.header.name)
            .find(|name| texts.contains(name))?;
        Some(RuleFault {
            file: rule.path.clone(),
            line: rule.line,
            message: format!(
                "rule `{asked}` reads `{table}` itself, and a rule over `{table}` sees no alerts of such rules, so that none can raise itself: ask for the rules that `{asked}` asks for"
            ),
        })
    };
    those.iter().filter_map(|rule| fault(rule)).collect()
}

/// The texts in quotes.
fn texts(sql: &str) -> Vec<String> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let text = |token| match token {
        Token::SingleQuotedString(text) => Some(text),
        _ => None,
    };
    tokens
        .unwrap_or_default()
        .into_iter()
        .filter_map(text)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::stage::catalog;

    fn rule(at: usize, name: &str, sql: &str) -> Rule {
        let text = format!(
            "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f1{at}\nname: {name}\nversion: 1\ntitle: t\nstatus: test\nseverity: low\ndescription: d\n---*/\n{sql}"
        );
        Rule::parse(Path::new(&format!("{name}.sql")), &text).expect("a sound header")
    }

    #[test]
    fn a_rule_over_alerts_that_asks_for_one_of_its_kind_is_refused() {
        let asks = |of: &str| format!("SELECT identity, rule FROM alerts WHERE rule IN ({of})");
        let rules = vec![
            rule(
                0,
                "plain",
                "SELECT identity FROM events WHERE tool = 'upper'",
            ),
            rule(1, "lower", &asks("'plain', 'misconfig_probe'")),
            rule(2, "upper", &asks("'plain', 'lower'")),
            rule(3, "own", &asks("'own'")),
        ];
        let rules = RuleSet::new(rules).expect("names of their own");
        let told = faults(&rules, &catalog(), "alerts");
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "own.sql:11: rule `own` reads `alerts` itself, and a rule over `alerts` sees no alerts of such rules, so that none can raise itself: ask for the rules that `own` asks for",
                "upper.sql:11: rule `lower` reads `alerts` itself, and a rule over `alerts` sees no alerts of such rules, so that none can raise itself: ask for the rules that `lower` asks for",
            ]
        );
    }
}
