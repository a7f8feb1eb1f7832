//! What names say of the data behind them: hints, never proof.

/// Words, each with what it hints at. Whole words of names: `card_number` and `cardNumber` have `card`.
const WORDS: [(&str, &[&str]); 7] = [
    (
        "credential",
        &[
            "password",
            "passwd",
            "secret",
            "token",
            "otp",
            "pin",
            "apikey",
            "credential",
            "credentials",
            "2fa",
            "mfa",
        ],
    ),
    (
        "payment",
        &[
            "card",
            "cards",
            "iban",
            "payment",
            "payments",
            "payout",
            "payouts",
            "wallet",
            "wallets",
            "invoice",
            "invoices",
            "transfer",
            "transfers",
            "statement",
            "statements",
        ],
    ),
    (
        "health",
        &[
            "patient",
            "patients",
            "diagnosis",
            "prescription",
            "prescriptions",
            "medical",
            "healthrecord",
            "allergies",
            "vaccination",
            "vaccinations",
        ],
    ),
    (
        "identity_document",
        &[
            "ssn",
            "passport",
            "passports",
            "taxid",
            "licence",
            "license",
            "kyc",
            "identitycard",
        ],
    ),
    (
        "contact",
        &[
            "email",
            "emails",
            "phone",
            "phones",
            "mobile",
            "address",
            "addresses",
            "contact",
            "contacts",
        ],
    ),
    (
        "location",
        &[
            "location",
            "locations",
            "gps",
            "latitude",
            "longitude",
            "lat",
            "lon",
            "lng",
            "trips",
        ],
    ),
    (
        "person",
        &[
            "birthdate",
            "birthday",
            "dob",
            "gender",
            "salary",
            "salaries",
            "payroll",
            "nationality",
        ],
    ),
];

/// What some names hint at, in the order of the list, each once.
pub(super) fn hints<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found = [false; WORDS.len()];
    for name in names {
        for word in words(name) {
            for (hint, (_, list)) in found.iter_mut().zip(&WORDS) {
                *hint |= list.contains(&word.as_str());
            }
        }
    }
    let hints = found.iter().zip(&WORDS).filter(|(hint, _)| **hint);
    hints.map(|(_, (name, _))| (*name).to_owned()).collect()
}

/// The words of a path, a parameter or a collection, in lower case; two neighbours together too (`api_key`, `taxId`).
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        let is_break = !c.is_ascii_alphanumeric() || (was_lower && c.is_ascii_uppercase());
        if is_break && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_lowercase());
        }
        was_lower = c.is_ascii_lowercase();
    }
    let pairs: Vec<String> = words.windows(2).map(<[String]>::concat).collect();
    words.extend(pairs);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hint_at_what_is_behind_them() {
        for (name, want) in [
            ("/cards/{id}/transactions", vec!["payment"]),
            ("userEmail", vec!["contact"]),
            ("reset_password", vec!["credential"]),
            ("api_key", vec!["credential"]),
            ("taxId", vec!["identity_document"]),
            ("/discard/{id}", vec![]),
            ("pinned", vec![]),
            ("platform", vec![]),
        ] {
            assert_eq!(hints(std::iter::once(name)), want, "{name}");
        }
    }
}
