//! `world`: writes the log of a drawn world, and its labels beside it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use world::attacks::KINDS;
use world::play;
use world::world::{Options, World};

const HELP: &str = "\
Writes the gateway log of a drawn world of API traffic, with labelled attacks

Usage: world --out DIR [--seed N] [--days N] [--callers N | --scale EVENTS] [--episodes N] [--band 1..5] [--kinds A,B]

Options:
      --out DIR        Folder for access.ndjson, labels.tsv, scenarios.json, truth.json and openapi/
      --seed N         Seed of everything [default: 1]
      --days N         Days the log covers [default: 7]
      --callers N      People and services together [default: 400]
      --scale EVENTS   As many callers as make about so many events, within a third
      --episodes N     Attacks [default: one in 16 callers]
      --band 1..5      Only attacks of this difficulty: 1 is loud, 5 is near the limit of what a log can show
      --kinds A,B      Only these kinds of attack
      --posture        Sows misconfigurations and their healthy twins, which truth.json names
      --list           Prints the kinds of attack and their bands
  -h, --help           Prints this

Examples:
  world --seed 7 --out /tmp/w7
  world --seed 7 --scale 1000000 --band 3 --out /tmp/w7-quiet
  world --seed 7 --kinds sequential,distributed --episodes 12 --out /tmp/w7-two
  world --seed 7 --days 3 --posture --out /tmp/w7-posture
";

/// Events a day that a caller makes, and that the first services of all APIs make; fitted to worlds of 400 and 2,256 callers.
const EVENTS_PER_CALLER_DAY: f64 = 41.0;
const EVENTS_OF_SERVICES_DAY: f64 = 6000.0;

enum Job {
    Tell(String),
    Write(Options, PathBuf),
}

fn main() -> ExitCode {
    let outcome = parse(std::env::args().skip(1).collect()).and_then(|job| match job {
        Job::Tell(text) => {
            print!("{text}");
            Ok(())
        }
        Job::Write(options, out) => {
            run(&options, &out).map_err(|error| format!("cannot write {}: {error}", out.display()))
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}; see world --help");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: Vec<String>) -> Result<Job, String> {
    let mut options = Options::default();
    let (mut out, mut scale) = (None, None);
    let mut arguments = arguments.into_iter();
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "-h" | "--help" => return Ok(Job::Tell(HELP.to_owned())),
            "--list" => return Ok(Job::Tell(list())),
            "--posture" => {
                options.posture = true;
                continue;
            }
            _ => (),
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{name} {value} is no whole number"))
        };
        match name.as_str() {
            "--out" => out = Some(PathBuf::from(&value)),
            "--seed" => options.seed = number()?,
            "--days" => options.days = number()?.max(1) as usize,
            "--callers" => options.callers = number()? as usize,
            "--scale" => scale = Some(number()?),
            "--episodes" => options.episodes = Some(number()? as usize),
            "--band" => {
                options.band = Some(
                    number()
                        .ok()
                        .filter(|band| (1..=5).contains(band))
                        .ok_or("--band is 1 to 5")? as u8,
                )
            }
            "--kinds" => options.kinds = value.split(',').map(str::to_owned).collect(),
            _ => return Err(format!("no option {name}")),
        }
    }
    if let Some(unknown) = options
        .kinds
        .iter()
        .find(|kind| KINDS.iter().all(|known| known.name != **kind))
    {
        return Err(format!("no kind {unknown}"));
    }
    if let Some(n_events) = scale {
        let per_day = n_events as f64 / options.days as f64 - EVENTS_OF_SERVICES_DAY;
        options.callers = (per_day / EVENTS_PER_CALLER_DAY).max(0.0) as usize;
    }
    Ok(Job::Write(options, out.ok_or("--out is missing")?))
}

fn list() -> String {
    let row = |kind: &world::attacks::Kind| {
        format!(
            "{:20} {}-{}  {}\n",
            kind.name, kind.bands.0, kind.bands.1, kind.what
        )
    };
    KINDS.iter().map(row).collect()
}

fn run(options: &Options, out: &std::path::Path) -> io::Result<()> {
    let started = Instant::now();
    fs::create_dir_all(out)?;
    let create = |name: &str| {
        File::create(out.join(name)).map(|file| BufWriter::with_capacity(1 << 20, file))
    };
    let (mut access, mut labels, mut scenarios) = (
        create("access.ndjson")?,
        create("labels.tsv")?,
        create("scenarios.json")?,
    );
    let world = World::draw(options);
    let files = play::Files {
        access: &mut access,
        labels: &mut labels,
        scenarios: &mut scenarios,
    };
    let (summary, truth, sown) = play::write(&world, files)?;
    for file in [&mut access, &mut labels, &mut scenarios] {
        file.flush()?;
    }
    let (documents, truth) = truth.finish(&world, sown.as_ref());
    fs::write(out.join("truth.json"), truth)?;
    let folder = out.join("openapi");
    fs::create_dir_all(&folder)?;
    for (host, document) in documents {
        fs::write(folder.join(format!("{host}.json")), document)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let n_shown = summary.seen.iter().filter(|seen| seen.n_calls > 0).count();
    println!(
        "{} lines, {} of them in {n_shown} episodes; {} callers, {} APIs; {:.0} lines/s",
        summary.n_lines,
        summary.n_of_episodes,
        world.actors.len(),
        world.apis.len(),
        summary.n_lines as f64 / seconds
    );
    Ok(())
}
