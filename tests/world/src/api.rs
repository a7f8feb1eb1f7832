//! The APIs of a world: hosts, resource trees, id schemes, who may read what.

use crate::dice::Dice;
use crate::ids::Scheme;

/// A moment beyond every world.
pub const NEVER: i64 = i64::MAX;

/// Index of a collection in the world.
pub type CollectionId = usize;

/// What of the caller the gateway logs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Credential {
    /// The token's subject, and the token's hash.
    Subject,
    /// Claims as JSON: issuer, subject, tenant, client; and the token's hash.
    Claims,
    /// Nothing but the token's hash.
    Hash,
}

/// Where a collection's ids stand.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// `/orders/{id}`.
    Path,
    /// `/orgs/{org}/orders/{id}`.
    Nested,
    /// `/order/view?orderId={id}`: path and parameter.
    Query(String, String),
    /// A variable of a GraphQL query.
    Graph,
}

/// Who of the callers may read an object besides its owner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sharing {
    /// The owner's group, for this share of the objects.
    Some(f64),
    /// The owner's group.
    Group,
    /// The owner's tenant.
    Tenant,
    /// Everyone.
    Public,
}

/// What the service answers to one who may not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// The object: the flaw this world is about.
    Open,
    /// 403.
    Forbid,
    /// 404.
    Hide,
}

/// An object of a collection; its index is its number.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// Actor that owns it.
    pub owner: u32,
    /// When it was made.
    pub created_ms: i64,
    /// When it was deleted; [`NEVER`] if it was not.
    pub deleted_ms: i64,
}

/// One collection of one API.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Index of its API.
    pub api: usize,
    /// Plural, as in paths.
    pub name: String,
    /// Singular, as in parameters and tools.
    pub noun: String,
    /// How its objects are called.
    pub scheme: Scheme,
    /// How those are called that are made from the release on, where that changed.
    pub scheme_after: Option<Scheme>,
    /// Where the ids stand.
    pub place: Place,
    /// Who may read.
    pub sharing: Sharing,
    /// What others get.
    pub policy: Policy,
    /// What others get who write.
    pub policy_writes: Policy,
    /// What others get on parts (`/orders/{id}/items`) and exports.
    pub policy_parts: Policy,
    /// Name of a part.
    pub part: &'static str,
    /// How often people come here, against the API's other collections.
    pub weight: f64,
    /// Median and spread of the answer's bytes.
    pub bytes: (f64, f64),
    /// Median and spread of the latency in milliseconds.
    pub latency: (f64, f64),
    /// Objects a page lists.
    pub page: usize,
    /// Keeps its ids apart from others'.
    pub salt: u64,
    /// All objects, by number.
    pub objects: Vec<Object>,
    /// True for the accounts themselves, whose owners are the actors.
    pub is_accounts: bool,
}

impl Collection {
    /// What the labels call one of its objects.
    pub fn label(&self, id: &str) -> String {
        format!("{}:{id}", self.name)
    }

    /// The id of the n-th object, which need not exist.
    pub fn id(&self, n: i64, release_ms: i64) -> String {
        let object = usize::try_from(n).ok().and_then(|at| self.objects.get(at));
        let made = object.or(self.objects.last()).map_or(0, |o| o.created_ms);
        let scheme = match &self.scheme_after {
            Some(after) if made >= release_ms => after,
            _ => &self.scheme,
        };
        scheme.id(self.salt, n, made)
    }
}

/// One API.
#[derive(Clone, Debug)]
pub struct Api {
    /// Its host.
    pub host: String,
    /// Before the paths; `{v}` stands for the version.
    pub base: String,
    /// Its current version.
    pub version: u32,
    /// What the gateway logs of the caller.
    pub credential: Credential,
    /// Its collections.
    pub collections: Vec<CollectionId>,
    /// The collection of accounts.
    pub accounts: CollectionId,
    /// Word for a tenant in nested paths.
    pub tenant_word: &'static str,
    /// Path of the caller's own account.
    pub me: &'static str,
    /// GraphQL's path, where it has one.
    pub graph: Option<&'static str>,
    /// MCP's path, where it has one.
    pub rpc: Option<&'static str>,
    /// True when the gateway logs bodies.
    pub has_bodies: bool,
    /// Address of the service behind.
    pub upstream: String,
    /// True when tenants are firms, false when they are families.
    pub is_business: bool,
    /// Parameters of a list: page and size.
    pub paging: (&'static str, &'static str),
    /// Share of people's steps that go to objects of others which they may read.
    pub mingling: f64,
    /// Paths of the oracles: lookup, reset, coupon.
    pub oracles: [&'static str; 3],
    /// Status of an oracle that knows nothing: 404, or 200 with another size.
    pub oracle_miss: u16,
    /// From when new clients call the next version.
    pub release_ms: i64,
    /// Some calls fail from here to there.
    pub outage_ms: (i64, i64),
}

impl Api {
    /// The base path of a version.
    pub fn base(&self, version: u32) -> String {
        self.base.replace("{v}", &version.to_string())
    }
}

const NOUNS: [(&str, &str, &str); 30] = [
    ("orders", "order", "items"),
    ("invoices", "invoice", "lines"),
    ("documents", "document", "content"),
    ("messages", "message", "attachments"),
    ("devices", "device", "readings"),
    ("reports", "report", "rows"),
    ("carts", "cart", "items"),
    ("tickets", "ticket", "comments"),
    ("payments", "payment", "receipt"),
    ("projects", "project", "tasks"),
    ("tasks", "task", "history"),
    ("files", "file", "content"),
    ("contracts", "contract", "terms"),
    ("shipments", "shipment", "tracking"),
    ("notes", "note", "revisions"),
    ("cards", "card", "transactions"),
    ("bookings", "booking", "guests"),
    ("policies", "policy", "claims"),
    ("subscriptions", "subscription", "usage"),
    ("statements", "statement", "entries"),
    ("vehicles", "vehicle", "trips"),
    ("photos", "photo", "faces"),
    ("recordings", "recording", "transcript"),
    ("wallets", "wallet", "transfers"),
    ("prescriptions", "prescription", "refills"),
    ("visits", "visit", "findings"),
    ("purchase-orders", "purchaseOrder", "lines"),
    ("delivery_addresses", "delivery_address", "hints"),
    ("conversations", "conversation", "turns"),
    ("playlists", "playlist", "tracks"),
];
const PUBLIC_NOUNS: [(&str, &str, &str); 6] = [
    ("products", "product", "reviews"),
    ("articles", "article", "comments"),
    ("stores", "store", "hours"),
    ("courses", "course", "lessons"),
    ("offers", "offer", "terms"),
    ("events", "event", "seats"),
];
const HOST_WORDS: [&str; 12] = [
    "shop", "bank", "care", "fleet", "desk", "learn", "pay", "home", "travel", "cloud", "stock",
    "media",
];

/// Draws one API with its collections, which are pushed to `collections`.
pub fn draw(dice: &mut Dice, at: usize, collections: &mut Vec<Collection>) -> Api {
    let word = HOST_WORDS[(dice.below(4) + 4 * at) % HOST_WORDS.len()];
    let base = *dice.pick(&[
        "/api/v{v}",
        "/v{v}",
        "/rest/{v}",
        "/api",
        "/svc/v{v}/public",
    ]);
    let is_business = at == 0 || dice.chance(0.5);
    let mut api = Api {
        host: format!(
            "{}{word}.example.{}",
            dice.pick(&["api.", "gw.", ""]),
            dice.pick(&["com", "net", "org"])
        ),
        base: base.to_owned(),
        version: dice.within(2, 4) as u32,
        credential: match dice.below(10) {
            0..=3 => Credential::Subject,
            4..=7 => Credential::Claims,
            _ => Credential::Hash,
        },
        collections: Vec::new(),
        accounts: 0,
        tenant_word: dice.pick::<&str>(&[
            "orgs",
            "tenants",
            "workspaces",
            "companies",
            "households",
        ]),
        me: dice.pick::<&str>(&["/users/me", "/me", "/account", "/session"]),
        graph: dice
            .chance(0.4)
            .then_some(*dice.pick(&["/graphql", "/api/graphql", "/query"])),
        rpc: dice
            .chance(0.7)
            .then_some(*dice.pick(&["/mcp", "/ai/mcp", "/rpc"])),
        has_bodies: dice.chance(0.7),
        upstream: format!(
            "10.{}.{}.{}:{}",
            dice.below(200),
            dice.below(250),
            dice.within(2, 250),
            dice.within(3000, 9000)
        ),
        is_business,
        paging: *dice.pick(&[
            ("page", "limit"),
            ("offset", "count"),
            ("p", "per_page"),
            ("cursor", "size"),
        ]),
        mingling: dice.magnitude(0.01, 0.25),
        oracles: *dice.pick(&[
            ["/users/lookup", "/password/reset", "/coupons"],
            ["/accounts/exists", "/auth/forgot", "/vouchers"],
            ["/people/find", "/account/recovery", "/promo-codes"],
        ]),
        oracle_miss: *dice.pick(&[404, 404, 200]),
        release_ms: NEVER,
        outage_ms: (NEVER, NEVER),
    };
    let mut nouns = NOUNS;
    dice.shuffle(&mut nouns);
    let n_private = dice.within(3, 6) as usize;
    for (nth, noun) in nouns.iter().take(n_private).enumerate() {
        // Every API has an open collection whose ids count, and an open one whose ids do not.
        let mut collection = draw_private(dice, at, &api, *noun, nth % 2 == 0);
        if nth < 2 {
            collection.policy = Policy::Open;
        }
        if nth == 2 && api.graph.is_some() {
            collection.place = Place::Graph;
        }
        api.collections.push(collections.len());
        collections.push(collection);
    }
    let public = *dice.pick(&PUBLIC_NOUNS);
    let guessable = dice.chance(0.6);
    let mut hub = draw_private(dice, at, &api, public, guessable);
    hub.place = Place::Path;
    hub.sharing = Sharing::Public;
    hub.policy = Policy::Open;
    api.collections.push(collections.len());
    collections.push(hub);
    api.accounts = collections.len();
    api.collections.push(api.accounts);
    collections.push(draw_accounts(dice, at, &api));
    api
}

fn draw_private(
    dice: &mut Dice,
    at: usize,
    api: &Api,
    noun: (&str, &str, &'static str),
    guessable: bool,
) -> Collection {
    let (name, singular, part) = noun;
    let sharing = match dice.below(6) {
        0 => Sharing::Tenant,
        1 => Sharing::Group,
        _ => Sharing::Some(dice.between(0.0, 0.2)),
    };
    let place = match dice.below(10) {
        0..=4 => Place::Path,
        5 | 6 if api.is_business => Place::Nested,
        7 | 8 => draw_query(dice, name, singular),
        9 if api.graph.is_some() => Place::Graph,
        _ => Place::Path,
    };
    let policy = |dice: &mut Dice| *dice.pick(&[Policy::Open, Policy::Forbid, Policy::Hide]);
    Collection {
        api: at,
        name: name.to_owned(),
        noun: singular.to_owned(),
        scheme: Scheme::draw(dice, singular, guessable),
        scheme_after: None,
        place,
        sharing,
        policy: policy(dice),
        policy_writes: policy(dice),
        policy_parts: policy(dice),
        part,
        weight: dice.lognormal(1.0, 0.8),
        bytes: (dice.magnitude(150.0, 6000.0), dice.between(0.05, 0.9)),
        latency: (dice.magnitude(3.0, 120.0), dice.between(0.25, 0.7)),
        page: *dice.pick(&[10, 20, 25, 50]),
        salt: dice.bits(),
        objects: Vec::new(),
        is_accounts: false,
    }
}

fn draw_query(dice: &mut Dice, name: &str, noun: &str) -> Place {
    let path = match dice.below(3) {
        0 => format!("{noun}/view"),
        1 => format!("{name}/detail"),
        _ => format!("get-{noun}"),
    };
    let parameter = match dice.below(3) {
        0 => format!("{noun}_id"),
        1 => format!("{noun}Id"),
        _ => "id".to_owned(),
    };
    Place::Query(path, parameter)
}

fn draw_accounts(dice: &mut Dice, at: usize, api: &Api) -> Collection {
    let noun = *dice.pick(&[
        ("users", "user", "settings"),
        ("accounts", "account", "balance"),
        ("customers", "customer", "profile"),
        ("profiles", "profile", "preferences"),
    ]);
    let guessable = dice.chance(0.5);
    let mut accounts = draw_private(dice, at, api, noun, guessable);
    if dice.chance(0.25) {
        accounts.scheme = Scheme::Email {
            domain: api.host.replace("api.", "").replace("gw.", ""),
        };
    }
    accounts.place = Place::Path;
    accounts.sharing = if api.is_business {
        Sharing::Group
    } else {
        Sharing::Some(0.0)
    };
    accounts.weight *= 0.5;
    accounts.is_accounts = true;
    accounts
}
