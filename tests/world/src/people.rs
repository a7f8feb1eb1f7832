//! Callers: people with habits and devices, and the services beside them.

use crate::dice::{Dice, fold};
use crate::ids;

/// A second, a minute, an hour and a day in milliseconds.
pub const SECOND: i64 = 1000;
/// A minute.
pub const MINUTE: i64 = 60 * SECOND;
/// An hour.
pub const HOUR: i64 = 60 * MINUTE;
/// A day.
pub const DAY: i64 = 24 * HOUR;

/// What a caller is; its rows are labelled with the name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A person.
    User,
    /// A person who joins while the world runs.
    Newcomer,
    /// A person or firm with hundreds of own objects.
    Heavy,
    /// An account that several people use.
    Shared,
    /// A person who gets to read the tenant's objects at some moment.
    Manager,
    /// An AI agent that acts for a person.
    Agent,
    /// Support: reads customers' objects by ticket.
    Support,
    /// Auditor: reads broadly on a few days.
    Auditor,
    /// Job that walks a whole collection at night.
    Walker,
    /// Job that fetches what changed.
    Sync,
    /// Service that reads all of its own objects once.
    Migration,
    /// Load test on its own fixtures.
    Loadtest,
    /// Health check; not logged in.
    Monitor,
    /// Crawler of public objects; not logged in.
    Crawler,
}

impl Role {
    /// The name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Newcomer => "newcomer",
            Role::Heavy => "heavy",
            Role::Shared => "shared",
            Role::Manager => "manager",
            Role::Agent => "agent",
            Role::Support => "support",
            Role::Auditor => "auditor",
            Role::Walker => "walker",
            Role::Sync => "sync",
            Role::Migration => "migration",
            Role::Loadtest => "loadtest",
            Role::Monitor => "monitor",
            Role::Crawler => "crawler",
        }
    }

    /// True for those whose sessions are a person's.
    pub fn is_person(self) -> bool {
        matches!(
            self,
            Role::User | Role::Newcomer | Role::Heavy | Role::Shared | Role::Manager
        )
    }

    /// True when requests carry no credential.
    pub fn is_anonymous(self) -> bool {
        matches!(self, Role::Monitor | Role::Crawler)
    }
}

/// A device of a caller.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its user agent.
    pub agent: String,
    /// Its address at home.
    pub address: u32,
    /// True when its address changes and it fetches ahead.
    pub is_mobile: bool,
    /// True when it sends referer and origin.
    pub is_browser: bool,
}

/// A caller.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Subject, as logged.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// API it calls.
    pub api: usize,
    /// Its tenant.
    pub tenant: usize,
    /// Its group within the tenant.
    pub group: usize,
    /// Its local time less UTC.
    pub zone_ms: i64,
    /// Hour of the day of its peak, and how wide the peak is, local.
    pub peak: (f64, f64),
    /// Share of a weekday's sessions that a weekend day has.
    pub weekend: f64,
    /// Sessions a weekday.
    pub sessions: f64,
    /// Mean steps of a session.
    pub steps: f64,
    /// Devices, the usual one first.
    pub devices: Vec<Device>,
    /// How long a token lives; 0 for ever.
    pub rotation_ms: i64,
    /// From when it is there.
    pub joined_ms: i64,
    /// From when it may read the tenant's objects, for a manager.
    pub promoted_ms: i64,
    /// Person it acts for, for an agent.
    pub patron: Option<u32>,
    /// Keeps its draws apart from others'.
    pub salt: u64,
}

impl Actor {
    /// Hash of its token on a device at a moment, as the gateway logs it.
    pub fn token(&self, device: u8, at_ms: i64) -> u64 {
        let phase = (self.salt % 86_400_000) as i64;
        let epoch = match self.rotation_ms {
            0 => 0,
            rotation_ms => (at_ms + phase).div_euclid(rotation_ms),
        };
        fold(&[self.salt, u64::from(device), epoch as u64])
    }

    /// The device it has in hand: one for hours, the usual one most often, any of an account that several use.
    pub fn device_at(&self, now_ms: i64) -> u8 {
        let mut dice = Dice::of(&[self.salt, now_ms.div_euclid(3 * HOUR) as u64, 61]);
        let device = match self.role {
            Role::Shared => dice.below(self.devices.len()),
            _ => dice.zipf(self.devices.len()),
        };
        device as u8
    }

    /// Its sessions on a day: start and number of steps. Always the same for the same day.
    pub fn sessions(&self, day_ms: i64) -> Vec<(i64, usize)> {
        if !self.role.is_person() || self.joined_ms >= day_ms + DAY {
            return Vec::new();
        }
        let mut dice = Dice::of(&[self.salt, day_ms as u64, 11]);
        let weekday = (day_ms + self.zone_ms).div_euclid(DAY).rem_euclid(7);
        // 1970-01-01 was a Thursday: days 2 and 3 are Saturday and Sunday.
        let damping = if matches!(weekday, 2 | 3) {
            self.weekend
        } else {
            1.0
        };
        let is_first_day = self.joined_ms >= day_ms;
        let n = dice
            .count(self.sessions * damping)
            .max(usize::from(is_first_day));
        let mut sessions: Vec<(i64, usize)> = (0..n)
            .map(|_| {
                let hour = (self.peak.0 + self.peak.1 * dice.normal()).rem_euclid(24.0);
                let local_ms = (hour * HOUR as f64) as i64;
                let start_ms = day_ms + (local_ms - self.zone_ms).rem_euclid(DAY);
                (start_ms, 2 + dice.wait(self.steps) as usize)
            })
            .collect();
        if is_first_day {
            sessions[0].0 = self.joined_ms;
        }
        sessions.retain(|(start_ms, _)| *start_ms >= self.joined_ms);
        sessions.sort_unstable();
        sessions
    }
}

const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{m} Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36 Edg/{v}.0.0.0",
];

/// Fills a user agent's versions in.
fn versions(dice: &mut Dice, agent: &str) -> String {
    agent
        .replace("{v}", &dice.within(128, 135).to_string())
        .replace("{m}", &dice.within(2, 6).to_string())
}

/// An address of a household, an office or a mobile network; none is routable on the Internet.
pub fn residential(dice: &mut Dice) -> u32 {
    match dice.below(4) {
        // 198.18.0.0/15.
        0 => 0xc612_0000 + dice.below(1 << 17) as u32,
        // 100.64.0.0/10.
        _ => 0x6440_0000 + dice.below(1 << 22) as u32,
    }
}

/// A person's device.
pub fn device(dice: &mut Dice, app: &str, office: Option<u32>) -> Device {
    let is_mobile = dice.chance(0.45);
    let agent = if is_mobile {
        match dice.below(3) {
            0 => format!(
                "{app}/{}.{} (iPhone; iOS 18.{}; Scale/3.00)",
                dice.within(3, 5),
                dice.below(9),
                dice.below(4)
            ),
            1 => format!(
                "{app}/{}.{} (Android 15; Pixel 8)",
                dice.within(3, 5),
                dice.below(9)
            ),
            _ => format!("okhttp/4.{}.0", dice.within(9, 12)),
        }
    } else {
        let browser = *dice.pick(&BROWSERS);
        versions(dice, browser)
    };
    Device {
        agent,
        address: office
            .filter(|_| !is_mobile)
            .unwrap_or_else(|| residential(dice)),
        is_mobile,
        is_browser: !is_mobile,
    }
}

/// A service's device, in a data centre.
pub fn server(dice: &mut Dice, role: Role) -> Device {
    let agents: &[&str] = match role {
        Role::Agent => &[
            "my-agent/0.{m}",
            "claude-code/2.{m}",
            "python-httpx/0.2{m}.0",
            "langgraph/0.{m}",
        ],
        Role::Monitor => &["UptimeRobot/2.0", "GoogleHC/1.0", "kube-probe/1.3{m}"],
        Role::Crawler => &[
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        ],
        Role::Support | Role::Auditor => &BROWSERS,
        Role::Loadtest => &["k6/0.5{m}.0 (https://k6.io/)", "Apache-HttpClient/4.5.1{m}"],
        _ => &[
            "python-requests/2.3{m}.0",
            "Go-http-client/2.0",
            "Java-http-client/21.0.{m}",
            "axios/1.{m}.0",
        ],
    };
    let agent = *dice.pick(agents);
    Device {
        agent: versions(dice, agent),
        // 10.0.0.0/8 within, 198.18.0.0/15 for guests.
        address: match role {
            Role::Crawler | Role::Agent => residential(dice),
            _ => 0x0a00_0000 + dice.below(1 << 24) as u32,
        },
        is_mobile: false,
        is_browser: matches!(role, Role::Support | Role::Auditor),
    }
}

/// How an API names its subjects.
#[derive(Clone, Copy, Debug)]
pub enum Naming {
    /// `adaberg17`.
    Login,
    /// `17042`.
    Number,
    /// A UUID.
    Uuid,
    /// `auth0|…`.
    Provider,
}

impl Naming {
    /// Draws one.
    pub fn draw(dice: &mut Dice) -> Naming {
        *dice.pick(&[
            Naming::Login,
            Naming::Number,
            Naming::Uuid,
            Naming::Provider,
        ])
    }

    /// The subject of the n-th caller of an API.
    pub fn name(self, salt: u64, n: usize) -> String {
        let (bits, more) = (fold(&[salt, n as u64]), fold(&[salt, n as u64, 1]));
        match self {
            Naming::Login => ids::person(salt, n as i64),
            Naming::Number => format!("{}{n:05}", 10 + salt % 80),
            Naming::Uuid => ids::uuid(bits, 4, bits >> 50, more),
            Naming::Provider => format!("auth0|{:016x}{:08x}", bits, more >> 32),
        }
    }
}
