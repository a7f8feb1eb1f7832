//! What a stretch of work used: wall time, CPU of this process, CPU of everything else, peak memory.
//!
//! Read from `/proc`, so Linux only.

use std::fs::read_to_string;
use std::time::Instant;

use crate::Result;

/// Unit of CPU times in `/proc`. `USER_HZ` is 100 on every architecture Rust's Linux targets cover.
const TICKS_PER_SECOND: f64 = 100.0;

/// The counters at one moment.
pub(crate) struct Mark {
    at: Instant,
    own_seconds: f64,
    machine_seconds: f64,
}

/// What was used between a mark and now.
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    /// User and system time of all threads of this process.
    pub(crate) cpu_seconds: f64,
    /// Cores that other processes kept busy meanwhile, the broker among them.
    pub(crate) others_cores: f64,
    /// Highest resident memory since the process started.
    pub(crate) rss_peak_mib: f64,
}

impl Mark {
    pub(crate) fn now() -> Result<Self> {
        Ok(Mark {
            at: Instant::now(),
            own_seconds: own_seconds(&read_to_string("/proc/self/stat")?)?,
            machine_seconds: busy_ticks(&read_to_string("/proc/stat")?)? / TICKS_PER_SECOND,
        })
    }

    pub(crate) fn until_now(&self) -> Result<Usage> {
        let now = Mark::now()?;
        let seconds = (now.at - self.at).as_secs_f64();
        let cpu_seconds = now.own_seconds - self.own_seconds;
        let elsewhere_seconds = now.machine_seconds - self.machine_seconds - cpu_seconds;
        Ok(Usage {
            seconds,
            cpu_seconds,
            others_cores: (elsewhere_seconds / seconds).max(0.0),
            rss_peak_mib: peak_kib(&read_to_string("/proc/self/status")?)? / 1024.0,
        })
    }
}

/// CPU-seconds of a process or thread, from its `stat`.
pub(crate) fn own_seconds(stat: &str) -> Result<f64> {
    Ok(own_ticks(stat)? / TICKS_PER_SECOND)
}

/// utime + stime. The command's name may hold blanks and brackets, so fields count from the last `)`.
fn own_ticks(stat: &str) -> Result<f64> {
    let (_, fields) = stat
        .rsplit_once(") ")
        .ok_or("/proc/self/stat has no command name")?;
    // The first field here is the third of proc_pid_stat(5); utime is the fourteenth.
    sum(fields.split_whitespace().skip(11).take(2))
}

/// user + nice + system, and irq + softirq (network on loopback); neither idle nor I/O wait.
fn busy_ticks(stat: &str) -> Result<f64> {
    let fields: Vec<&str> = stat
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(1)
        .take(7)
        .collect();
    match fields[..] {
        [user, nice, system, _idle, _iowait, irq, softirq] => {
            sum([user, nice, system, irq, softirq].into_iter())
        }
        _ => Err("/proc/stat has no line of all CPUs".into()),
    }
}

fn peak_kib(status: &str) -> Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    sum(line
        .ok_or("/proc/self/status has no VmHWM")?
        .split_whitespace()
        .take(1))
}

fn sum<'a>(fields: impl Iterator<Item = &'a str>) -> Result<f64> {
    fields.map(|field| Ok(field.parse::<f64>()?)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_proc_are_found() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 3 0 100 1 1";
        assert_eq!(own_ticks(stat).expect("utime and stime"), 300.0);
        let machine = "cpu  100 10 40 9000 70 5 6 0 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0";
        assert_eq!(busy_ticks(machine).expect("busy"), 161.0);
        assert_eq!(
            peak_kib("VmPeak:\t9 kB\nVmHWM:\t 2048 kB\n").expect("peak"),
            2048.0
        );
    }

    #[test]
    fn a_foreign_proc_is_an_error() {
        assert!(own_ticks("").is_err());
        assert!(busy_ticks("intr 1 2 3").is_err());
        assert!(peak_kib("VmRSS: 1 kB").is_err());
    }
}
