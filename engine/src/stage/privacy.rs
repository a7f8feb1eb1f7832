//! What of a call is kept, by the options: applied in `decode`, before anything is written.
//!
//! Comes in: a row of the events log as it would be, with the raw texts in it. Goes out: the row that is stored. What the raw texts
//! say (identity, objects, probe class, secrets) has been found before; only the client's address is cut before the identity is
//! resolved, so that a hash tells no more than the column.

use std::borrow::Cow;

use models::privacy::{Parameters, Texts, Widths, is_name, truncated};
use models::secret::{BLANK, HashKey};

use crate::config::PrivacyConfig;
use crate::schema::EventRow;

type Clear = for<'a> fn(&mut EventRow<'a>);

/// Columns that can be left out, and how.
const DROPPABLE: [(&str, Clear); 16] = [
    ("query", |event| event.query = None),
    ("client_ip", |event| event.client_ip = None),
    ("peer_ip", |event| event.peer_ip = None),
    ("country", |event| event.country = None),
    ("asn", |event| event.asn = None),
    ("as_org", |event| event.as_org = None),
    ("user_agent", |event| event.user_agent = None),
    ("agent_class", |event| event.agent_class = None),
    ("agent_claim", |event| event.agent_claim = None),
    ("actor", |event| event.actor = None),
    ("tenant", |event| event.tenant = None),
    ("object_number", |event| event.object_number = None),
    ("referer", |event| event.referer = None),
    ("origin", |event| event.origin = None),
    ("request_id", |event| event.request_id = None),
    ("trace_id", |event| event.trace_id = None),
];

/// Parameters named in an option. More are no list anybody keeps by hand, and each is compared with each name of a call.
const PARAMETERS_MAX: usize = 256;

/// The options, checked.
#[derive(Clone, Debug, Default)]
pub struct Privacy {
    widths: Option<Widths>,
    parameters: Parameters,
    clears: Vec<Clear>,
}

/// Texts of a row that are made anew; kept from row to row.
#[derive(Debug, Default)]
pub struct Kept {
    path: String,
    query: String,
    referer: String,
}

impl Privacy {
    /// The options' meaning.
    ///
    /// # Errors
    /// As [`faults`].
    pub fn new(config: &PrivacyConfig) -> Result<Privacy, Vec<String>> {
        let faults = faults(config);
        if !faults.is_empty() {
            return Err(faults);
        }
        let widths = config.truncate_addresses.map(|widths| Widths {
            ipv4: widths.ipv4,
            ipv6: widths.ipv6,
        });
        let keep = config.keep_query_params.as_deref();
        let dropped = |(name, _): &&(&str, Clear)| config.drop.iter().any(|drop| drop == name);
        Ok(Privacy {
            widths,
            parameters: Parameters::new(keep, &config.drop_query_params),
            clears: DROPPABLE
                .iter()
                .filter(dropped)
                .map(|(_, clear)| *clear)
                .collect(),
        })
    }

    /// An address as it may be kept; what is no address is not kept where addresses are cut.
    pub fn address<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        match self.widths {
            None => Some(Cow::Borrowed(text)),
            Some(widths) => truncated(text, widths).map(|ip| Cow::Owned(ip.to_string())),
        }
    }

    /// Makes a row what may be stored of it.
    ///
    /// * `key`: of pseudonyms, none when names stay.
    pub fn apply<'a>(&self, key: Option<&HashKey>, event: &mut EventRow<'a>, kept: &'a mut Kept) {
        self.clears.iter().for_each(|clear| clear(event));
        let texts = Texts {
            parameters: &self.parameters,
            key,
        };
        if texts.keep_all() {
            return;
        }
        let template = event.endpoint.rsplit(' ').next().unwrap_or("/");
        kept.path.clear();
        texts.path(template, event.path, &mut kept.path);
        event.path = &kept.path;
        if key.is_some() && event.url_secret.is_some_and(|name| !is_name(name)) {
            event.url_secret = Some(BLANK);
        }
        if let Some(query) = event.query {
            kept.query.clear();
            texts.query(query, &mut kept.query);
            event.query = Some(&kept.query);
        }
        if let Some(referer) = event.referer {
            kept.referer.clear();
            texts.url(referer, &mut kept.referer);
            event.referer = Some(&kept.referer);
        }
    }
}

/// Names of the columns that can be left out.
pub fn droppable() -> impl Iterator<Item = &'static str> {
    DROPPABLE.iter().map(|(name, _)| *name)
}

/// Every fault of the options; none when they are sound.
pub fn faults(config: &PrivacyConfig) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(widths) = config.truncate_addresses {
        for (name, bits, bits_max) in [("ipv4", widths.ipv4, 32), ("ipv6", widths.ipv6, 128)] {
            if bits_max < bits {
                faults.push(format!(
                    "privacy.truncate_addresses.{name} is {bits}; it must be at most {bits_max}"
                ));
            }
        }
    }
    for name in &config.drop {
        if !droppable().any(|known| known == name) {
            let all: Vec<&str> = droppable().collect();
            faults.push(format!(
                "privacy.drop has `{}`, which is no column that can be left out; these can: {}",
                name.escape_debug(),
                all.join(", ")
            ));
        }
    }
    let lists = [
        ("drop_query_params", config.drop_query_params.len()),
        (
            "keep_query_params",
            config.keep_query_params.as_ref().map_or(0, Vec::len),
        ),
    ];
    for (name, n) in lists {
        if PARAMETERS_MAX < n {
            faults.push(format!(
                "privacy.{name} has {n} names; it must have at most {PARAMETERS_MAX}"
            ));
        }
    }
    faults
}
