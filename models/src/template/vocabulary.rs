//! What a word alone says: whether it rather is part of an API or somebody's name for a thing.

use crate::object::name;

/// Words of API paths, sorted: actions, views, parts, formats and the nouns most APIs have.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "about", "accept", "access", "account", "accounts", "action", "actions", "activate", "activation", "active", "activities", "activity",
    "add", "address", "addresses", "admin", "agent", "agents", "aggregate", "alert", "alerts", "alias", "aliases", "all", "analysis",
    "analytics", "annotations", "app", "application", "applications", "approval", "approvals", "approve", "apps", "archive", "archived",
    "article", "articles", "artifacts", "asset", "assets", "assign", "assignees", "associate", "associations", "attach", "attachment",
    "attachments", "attributes", "audience", "audit", "auth", "authenticate", "author", "authorization", "authorizations", "authorize",
    "authors", "autocomplete", "availability", "available", "avatar", "backup", "backups", "balance", "balances", "ban", "bank", "batch",
    "batches", "billing", "block", "blocked", "blocks", "board", "boards", "body", "book", "books", "branches", "brand", "brands", "browse",
    "build", "builds", "bulk", "by", "cache", "calculate", "calendar", "call", "callback", "calls", "campaign", "campaigns", "cancel",
    "capabilities", "card", "cards", "cart", "catalog", "categories", "category", "certificate", "certificates", "change", "changes",
    "channel", "channels", "charges", "chart", "charts", "chat", "check", "checkout", "checks", "children", "cities", "clear", "client",
    "clients", "clone", "close", "cluster", "clusters", "code", "codes", "collaborators", "collection", "collections", "columns", "command",
    "commands", "comment", "comments", "commits", "companies", "company", "compare", "complete", "component", "components", "compute",
    "config", "configuration", "configurations", "confirm", "connect", "connection", "connections", "connector", "connectors", "consent",
    "contact", "contacts", "content", "contents", "contracts", "conversations", "convert", "copy", "count", "countries", "country",
    "counts", "create", "credential", "credentials", "credit", "currencies", "current", "custom", "customer", "customers", "daily",
    "dashboard", "dashboards", "data", "database", "databases", "dataset", "datasets", "date", "deactivate", "debug", "default", "defaults",
    "definition", "definitions", "delete", "deliveries", "delivery", "departments", "deploy", "deployment", "deployments", "describe",
    "destinations", "detach", "detail", "details", "detect", "device", "devices", "diff", "directory", "disable", "discover", "discussions",
    "dismiss", "dispatches", "document", "documents", "domain", "domains", "download", "downloads", "draft", "drafts", "edit", "email",
    "emails", "embed", "employees", "enable", "endpoint", "endpoints", "entities", "entity", "entries", "environment", "environments",
    "error", "errors", "estimate", "event", "events", "exchange", "execute", "execution", "executions", "experiments", "export", "exports",
    "external", "facets", "failures", "favorites", "features", "feed", "feedback", "feeds", "fetch", "field", "fields", "file", "files",
    "filter", "filters", "find", "folder", "folders", "follow", "followers", "following", "form", "format", "formats", "forms", "friends",
    "from", "full", "functions", "games", "generate", "get", "global", "group", "groups", "health", "help", "highlights", "history", "home",
    "hook", "hooks", "host", "hosts", "icon", "id", "identities", "identity", "image", "images", "import", "imports", "inbox", "index",
    "indexes", "info", "input", "insights", "install", "installation", "installations", "instance", "instances", "integration",
    "integrations", "interface", "interfaces", "internal", "invitations", "invite", "invites", "invoice", "invoices", "invoke", "issues",
    "item", "items", "job", "jobs", "join", "key", "keys", "keyword", "keywords", "label", "labels", "languages", "latest", "launch",
    "leaderboard", "leave", "library", "license", "licenses", "like", "likes", "limits", "line", "lines", "link", "links", "list", "lists",
    "live", "locale", "locales", "location", "locations", "lock", "log", "login", "logo", "logout", "logs", "lookup", "mail", "manage",
    "manifest", "map", "markets", "match", "matches", "me", "media", "meetings", "member", "members", "membership", "memberships", "menu",
    "merge", "message", "messages", "meta", "metadata", "methods", "metric", "metrics", "migrations", "milestones", "model", "models",
    "modules", "monitor", "monitors", "monthly", "move", "my", "name", "names", "namespaces", "network", "networks", "new", "news", "nodes",
    "note", "notes", "notification", "notifications", "oauth", "object", "objects", "offers", "open", "operation", "operations", "optimize",
    "option", "options", "order", "orders", "organization", "organizations", "orgs", "output", "overview", "owner", "owners", "package",
    "packages", "page", "pages", "parameters", "parent", "participants", "password", "pause", "payment", "payments", "payouts", "peers",
    "pending", "people", "permission", "permissions", "phone", "photo", "photos", "ping", "pipeline", "pipelines", "places", "plan",
    "plans", "play", "player", "playlists", "plugins", "policies", "policy", "pool", "pools", "popular", "ports", "post", "posts",
    "preferences", "preview", "price", "prices", "pricing", "process", "product", "products", "profile", "profiles", "programs", "progress",
    "project", "projects", "properties", "property", "provider", "providers", "provision", "public", "publish", "pull", "pulls", "purchase",
    "query", "questions", "queue", "queues", "quota", "quotas", "quotes", "random", "rate", "rates", "rating", "ratings", "reactions",
    "read", "reboot", "receipt", "recent", "recipients", "recommendations", "record", "recordings", "records", "redirect", "references",
    "refresh", "refs", "refund", "refunds", "region", "regions", "register", "registration", "reject", "relationships", "release",
    "releases", "remove", "rename", "render", "renew", "replies", "report", "reports", "repos", "repositories", "repository", "request",
    "requests", "reservations", "reset", "resize", "resolve", "resource", "resources", "response", "responses", "restart", "restore",
    "results", "resume", "retry", "returns", "review", "reviews", "revisions", "revoke", "role", "roles", "rotate", "route", "routes",
    "rule", "rules", "run", "runs", "sales", "sandbox", "save", "scan", "scans", "schedule", "schedules", "schema", "schemas", "scopes",
    "score", "search", "searches", "secret", "secrets", "sections", "security", "segments", "self", "send", "series", "server", "servers",
    "service", "services", "session", "sessions", "set", "settings", "setup", "share", "shares", "shipments", "shipping", "shops", "sign",
    "signin", "signup", "simulate", "sites", "snapshot", "snapshots", "sort", "source", "sources", "spaces", "standard", "star", "starred",
    "start", "state", "states", "statistics", "stats", "status", "statuses", "stop", "storage", "store", "stores", "stories", "stream",
    "streams", "submit", "subscribe", "subscription", "subscriptions", "suggest", "suggestions", "summaries", "summary", "support",
    "suspend", "switch", "sync", "system", "systems", "table", "tables", "tag", "tags", "targets", "task", "tasks", "tax", "taxes", "team",
    "teams", "template", "templates", "tenants", "terms", "test", "tests", "themes", "threads", "thumbnail", "ticket", "tickets", "time",
    "timeline", "to", "token", "tokens", "tools", "top", "topics", "totals", "tracking", "tracks", "transactions", "transfer", "transfers",
    "translations", "trending", "trends", "trigger", "triggers", "type", "types", "unassign", "unblock", "unfollow", "unlock", "unpublish",
    "unread", "unsubscribe", "update", "updates", "upgrade", "upload", "uploads", "upsert", "url", "urls", "usage", "user", "users",
    "utils", "validate", "validation", "values", "variables", "variants", "vendors", "verification", "verify", "version", "versions",
    "video", "videos", "view", "views", "volumes", "vote", "votes", "wait", "wallets", "warehouses", "watch", "webhook", "webhooks",
    "weekly", "widgets", "wiki", "with", "workers", "workflow", "workflows", "workspace", "workspaces", "zones",
];

/// Longest word that is taken apart, in bytes.
const COMPOUND_BYTES_MAX: usize = 32;

fn is_known(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    is_listed(&lower) || lower.len() <= COMPOUND_BYTES_MAX && is_compound(&lower, 2)
}

fn is_listed(lower: &str) -> bool {
    WORDS.binary_search(&lower).is_ok() || name::is_verb(lower) || name::is_entity(lower)
}

/// `createpermission`: listed words without a mark between, at most one more than `n_cuts`.
fn is_compound(lower: &str, n_cuts: usize) -> bool {
    let cuts = 3..=lower.len().saturating_sub(3);
    cuts.filter_map(|at| lower.split_at_checked(at))
        .any(|(head, tail)| {
            is_listed(head) && (is_listed(tail) || 0 < n_cuts && is_compound(tail, n_cuts - 1))
        })
}

/// What the text alone says, in nats: above zero it rather is a value, below a literal.
pub(crate) fn lean(text: &str) -> f64 {
    if matches!(text, "true" | "false") {
        return 6.0;
    }
    let bytes = text.as_bytes();
    let (mut n_words, mut n_known) = (0usize, 0usize);
    let mut rest = text;
    while !rest.is_empty() {
        let (before, word) = name::split_last(rest);
        n_words += usize::from(!word.is_empty());
        n_known += usize::from(is_known(word));
        // A mark is dropped with the next word; nothing but marks ends it.
        rest = if before.len() < rest.len() {
            before
        } else {
            ""
        };
    }
    let plural = 3 < bytes.len() && bytes.ends_with(b"s") && !bytes.ends_with(b"ss");
    let mut nats = match (n_known, n_words) {
        (1, 1) if name::is_verb(text) => -3.0,
        (0, 1) if plural => -0.7,
        (0, 1) => 0.1,
        (0, _) => 0.8,
        (known, words) if known == words => -1.5 - 0.5 * (words as f64 - 1.0).min(2.0),
        _ if plural => -0.9,
        _ => -0.3,
    };
    if bytes.contains(&b'_') {
        nats -= 0.3;
    }
    // Longer than words are, with nothing between.
    if bytes
        .split(|b| matches!(b, b'-' | b'_' | b'.'))
        .any(|run| 20 <= run.len() && run.iter().any(u8::is_ascii_digit))
    {
        nats += 1.5;
    }
    let camel = bytes
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()));
    if camel {
        nats += if 3 * n_known <= n_words && is_scrambled(bytes) {
            2.5
        } else {
            -1.5
        };
    }
    if ends_in_version(bytes) {
        nats -= 2.0;
    } else if bytes.iter().any(u8::is_ascii_digit) {
        nats += 1.0;
    }
    if bytes.contains(&b'.') || bytes.contains(&b'~') {
        nats += 1.0;
    }
    if bytes.first() == Some(&b'_') || bytes.starts_with(b"by-") || bytes.starts_with(b"by_") {
        nats -= 2.0;
    }
    nats
}

/// `findingsv2`: one or two digits behind a `v`.
fn ends_in_version(bytes: &[u8]) -> bool {
    let n_end = bytes
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let head = bytes.get(..bytes.len() - n_end).unwrap_or(&[]);
    (1..=2).contains(&n_end)
        && matches!(head, [_, _, .., b'v' | b'V'])
        && !head.iter().any(u8::is_ascii_digit)
}

/// Both cases, in humps too short for words: fewer than 3.5 letters each on average, in three humps at least.
fn is_scrambled(bytes: &[u8]) -> bool {
    let letters = bytes.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let humps = bytes.iter().filter(|b| b.is_ascii_uppercase()).count() + 1;
    3 <= humps && 2 * letters < 7 * humps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted() {
        assert!(WORDS.is_sorted());
    }

    #[test]
    fn words_lean_to_literals_and_names_to_values() {
        for literal in ["search", "users", "getUserByName", "bulk-update", "_debug"] {
            assert!(lean(literal) < 0.0, "{literal}");
        }
        for value in ["ada", "blue-river", "ada.berg", "zone9"] {
            assert!(0.0 < lean(value), "{value}");
        }
    }
}
