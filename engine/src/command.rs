//! The command line: one file a subcommand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use comfy_table::{LineStyle, TableStyle};
use models::agent::register::AgentRegister;
use models::identity::Resolver;
use models::inventory::Documents;
use models::secret::HashKey;
use models::template::TemplateSet;

use crate::rule::{Lookups, RuleFault, RuleSet};
use crate::templates::TemplatesError;

pub mod agents;
pub mod check;
pub mod collect;
pub mod dead_letters;
pub mod deliver;
pub mod demo;
pub mod drill;
pub mod eval;
pub mod explain;
pub mod import_sigma;
pub mod inputs;
pub mod inventory;
pub mod map;
pub mod posture;
pub mod query;
pub mod readiness;
pub mod reading;
pub mod recording;
pub mod render;
pub mod replay;
pub mod report;
pub mod roi;
pub mod rules;
pub mod run;
pub mod state;
pub mod templates;
pub mod verify;
pub mod warm;

/// Finds authenticated callers who walk through other people's objects, and probing and
/// misconfiguration of APIs, in the access logs gateways already write.
#[derive(Debug, Parser)]
#[command(name = "tollwatch", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Log level or filter: error, warn, info, debug, or `engine=debug,connectors=info`; `run`,
    /// `deliver` and `collect` say info when absent, the others warn
    #[arg(long, global = true, env = "TOLLWATCH_LOG")]
    pub log: Option<String>,
    /// Writes logs as JSON lines
    #[arg(long, global = true, env = "TOLLWATCH_LOG_JSON")]
    pub log_json: bool,
}

const EXAMPLES: &str = "Examples:
  tollwatch demo
  tollwatch replay access.log.gz --alerts alerts.ndjson
  tollwatch run --brokers broker:9092 --source-topic gateway-logs
  tollwatch rules test

Exit codes: 0 done, 1 found faults or failed, 2 wrong usage.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows attacks found in captured traffic, on an embedded broker, in under a minute
    Demo(demo::DemoArgs),
    /// Runs the service: reads gateway logs from Kafka, writes alerts
    Run(Box<run::RunArgs>),
    /// Runs the same engine over files, without Kafka
    Replay(replay::ReplayArgs),
    /// Asks the event lake, or the calls of files, in SQL
    Query(query::QueryArgs),
    /// Shows why an alert was raised, how far a caller is from each rule, or what one line says
    Explain(Box<explain::ExplainArgs>),
    /// Measures detection on a labelled file: recall, exposure, false alerts
    Eval(eval::EvalArgs),
    /// Lists the endpoints there are, holds them against OpenAPI documents, writes one, compares two inventories
    #[command(subcommand)]
    Inventory(inventory::InventoryCommand),
    /// Lists what is wrong with the APIs, by what their calls show, and what is looked for
    #[command(subcommand)]
    Posture(posture::PostureCommand),
    /// Lists AI agents, MCP servers and tools: who they are, what they use, for whom
    #[command(subcommand)]
    Agents(agents::AgentsCommand),
    /// Runs an exercise end to end: new agents, and how long until it is known what they use
    #[command(subcommand)]
    Drill(drill::DrillCommand),
    /// Writes what is known of the APIs as one HTML page: findings, inventory, agents, coverage, readiness
    Report(Box<report::ReportArgs>),
    /// Answers thirty questions of readiness by what was measured
    Readiness(Box<readiness::ReadinessArgs>),
    /// Tells what was measured here, and what that comes to in money by assumptions of yours
    Roi(Box<roi::RoiArgs>),
    /// Checks configuration, rules, topics and what each source lets rules see; tells every fault at once
    #[command(after_help = check::EXAMPLES)]
    Check(Box<run::RunArgs>),
    /// Brings logs into a topic: files that grow, standard input, OTLP and JSON over HTTP
    Collect(Box<collect::CollectArgs>),
    /// Derives each stage's output again from its input log and compares
    Verify(verify::VerifyArgs),
    /// Lists what could not be decoded, and puts it back when its cause is mended
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// Delivers alerts from their topic to a SIEM, a file, a webhook or another topic
    Deliver(Box<deliver::DeliverArgs>),
    /// Renders alerts of a file as another system takes them
    Render(render::RenderArgs),
    /// Shows what lanes have left behind, and gives the logs more partitions
    #[command(subcommand)]
    State(state::StateCommand),
    /// Lists, checks and tests rules, runs them over files, compares, explains, documents and imports them
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Learns from logs which words in paths are names, and shows what was learnt
    #[command(subcommand)]
    Templates(templates::TemplatesCommand),
    /// Reads logs that no decoder knows: proposes a mapping, and shows what one makes of their lines
    #[command(subcommand)]
    Map(map::MapCommand),
}

impl Cli {
    /// The log's filter: that of a service that runs unattended, or of a command somebody looks at.
    pub fn log_filter(&self) -> &str {
        match (&self.log, &self.command) {
            (Some(filter), _) => filter,
            (None, Command::Run(_) | Command::Deliver(_) | Command::Collect(_)) => "info",
            (None, _) => "warn",
        }
    }
}

/// What went wrong, for `main` to print with its chain.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs a command; its exit code comes back.
///
/// # Errors
/// Whatever stopped it.
pub fn run(cli: Cli) -> Result<u8, Failure> {
    match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Query(args) => query::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Inventory(command) => inventory::run(&command),
        Command::Posture(command) => posture::run(&command),
        Command::Agents(command) => agents::run(&command),
        Command::Drill(command) => drill::run(&command),
        Command::Report(args) => report::run(&args),
        Command::Readiness(args) => readiness::run(&args),
        Command::Roi(args) => roi::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Collect(args) => collect::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::DeadLetters(command) => dead_letters::run(&command),
        Command::Deliver(args) => deliver::run(&args),
        Command::Render(args) => render::run(&args),
        Command::State(command) => state::run(&command),
        Command::Rules(command) => rules::run(&command),
        Command::Templates(command) => templates::run(&command),
        Command::Map(command) => map::run(&command),
    }
}

/// Options of every command that runs the models.
#[derive(Clone, Debug, Default, Args)]
pub struct EngineArgs {
    /// Folder of rules (.sql); the shipped ones when absent
    #[arg(long, env = "TOLLWATCH_RULES")]
    pub rules: Option<PathBuf>,
    /// Folder of lookup tables (.csv, .parquet) that rules join with; none when absent
    #[arg(long, value_name = "DIR", env = "TOLLWATCH_LOOKUPS")]
    pub lookups: Option<PathBuf>,
    /// What names endpoints.
    #[command(flatten)]
    pub naming: NamingArgs,
    /// The models.
    #[command(flatten)]
    pub models: ModelArgs,
}

/// What names endpoints, besides how calls look.
#[derive(Clone, Debug, Default, Args)]
pub struct NamingArgs {
    /// File of templates that `templates learn` wrote: which words in paths are names
    #[arg(long, value_name = "FILE", env = "TOLLWATCH_TEMPLATES")]
    pub templates: Option<PathBuf>,
    /// OpenAPI document, or folder of such (.json, .yaml, .yml), whose routes name the endpoints; may be given more than once
    #[arg(
        long,
        value_name = "FILE|DIR",
        env = "TOLLWATCH_OPENAPI",
        value_delimiter = ','
    )]
    pub openapi: Vec<PathBuf>,
    /// File that says who answers for which AI agents and MCP servers (TOML); docs/agents.md has an example
    #[arg(long, value_name = "FILE", env = "TOLLWATCH_AGENTS")]
    pub agents: Option<PathBuf>,
}

/// Options of the models.
#[derive(Clone, Debug, Default, Args)]
pub struct ModelArgs {
    /// The one knob: false alerts promised per million events
    #[arg(long, env = "TOLLWATCH_FALSE_ALERTS_PER_MILLION_EVENTS")]
    pub false_alerts_per_million_events: Option<f64>,
    /// Event time to learn before touches are judged, in hours
    #[arg(long, env = "TOLLWATCH_WARM_UP_HOURS")]
    pub warm_up_hours: Option<f64>,
    /// Bytes of state a lane holds; there are four stages of lanes
    #[arg(long, env = "TOLLWATCH_STATE_BYTES_MAX")]
    pub state_bytes_max: Option<usize>,
}

impl NamingArgs {
    /// The templates that calls are named by.
    ///
    /// # Errors
    /// As [`crate::templates::load`].
    pub fn template_set(&self) -> Result<Arc<TemplateSet>, TemplatesError> {
        crate::templates::load(self.templates.as_deref(), &self.openapi)
    }

    /// Who answers for which agents and servers.
    ///
    /// # Errors
    /// As [`crate::templates::register`].
    pub fn register(&self) -> Result<Arc<AgentRegister>, TemplatesError> {
        crate::templates::register(self.agents.as_deref())
    }

    /// What documents promise.
    ///
    /// # Errors
    /// As [`crate::templates::documents`].
    pub fn documents(&self) -> Result<Arc<Documents>, TemplatesError> {
        Ok(Arc::new(crate::templates::documents(&self.openapi)?))
    }
}

impl ModelArgs {
    /// The models' options with these flags laid over them.
    pub fn over(&self, base: &crate::config::ModelConfig) -> crate::config::ModelConfig {
        let mut models = base.clone();
        if let Some(f) = self.false_alerts_per_million_events {
            models.false_alerts_per_million_events = f;
        }
        if let Some(hours) = self.warm_up_hours {
            models.warm_up_hours = hours;
        }
        if let Some(bytes) = self.state_bytes_max {
            models.state_bytes_max = bytes;
        }
        models
    }
}

/// An error and its causes, a line each.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let causes: String = causes
        .map(|cause| format!("\n  because: {cause}"))
        .collect();
    format!("{error}{causes}")
}

/// An empty table in the manner of every report.
pub fn plain_table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(line));
    table
}

/// Faults of rules as one error, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{} in the rules:\n{}", count(.0.len(), "fault"), list(.0))]
pub struct RuleFaults(pub Vec<RuleFault>);

fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

fn list(faults: &[RuleFault]) -> String {
    faults
        .iter()
        .map(|fault| format!("  {fault}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The rules of a folder, or the shipped ones, with the lookup tables of another, or none.
///
/// # Errors
/// Every fault of every file.
pub fn load_rules(dir: Option<&Path>, lookups: Option<&Path>) -> Result<Arc<RuleSet>, RuleFaults> {
    let rules = dir.map_or_else(|| Ok(RuleSet::shipped()), RuleSet::load);
    let lookups = lookups.map_or_else(|| Ok(Lookups::default()), Lookups::load);
    match (rules, lookups) {
        (Ok(rules), Ok(lookups)) => Ok(Arc::new(rules.with_lookups(lookups))),
        (rules, lookups) => {
            let faults = [rules.err(), lookups.err()];
            Err(RuleFaults(faults.into_iter().flatten().flatten().collect()))
        }
    }
}

/// The resolver of identities, with the key kept in a state folder.
///
/// Without a folder the key is a published constant: hashes then compare between runs, and hide
/// nothing from somebody who can guess the value.
///
/// # Errors
/// The key can't be read or written.
pub fn resolver(state: Option<&Path>, pseudonymise: bool) -> Result<Arc<Resolver>, Failure> {
    let key = match state {
        Some(dir) => read_key(dir)?,
        None => *b"tollwatch, a key for files only.",
    };
    Ok(Arc::new(Resolver::new(HashKey::new(key), pseudonymise)))
}

fn read_key(dir: &Path) -> Result<[u8; 32], Failure> {
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;
    let path = dir.join("identity.key");
    let failed =
        |what: &str, error: std::io::Error| format!("cannot {what} {}: {error}", path.display());
    std::fs::create_dir_all(dir).map_err(|e| failed("make the folder of", e))?;
    if !path.exists() {
        let mut key = [0; 32];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut key))
            .map_err(|e| failed("find randomness for", e))?;
        // Written aside and linked, so that of two processes that start together one key wins.
        let aside = dir.join(format!("identity.key.{}", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)
            .map_err(|e| failed("write", e))?;
        file.write_all(&key)
            .and_then(|()| file.sync_all())
            .map_err(|e| failed("write", e))?;
        let linked = std::fs::hard_link(&aside, &path);
        std::fs::remove_file(&aside).map_err(|e| failed("tidy up beside", e))?;
        match linked {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(failed("write", e).into());
            }
            _ => (),
        }
    }
    let bytes = std::fs::read(&path).map_err(|e| failed("read", e))?;
    bytes
        .try_into()
        .map_err(|_| format!("{} is not 32 bytes long", path.display()).into())
}
