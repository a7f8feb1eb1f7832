//! When the calls of a capture were: event time by line, which labels don't hold.

/// Event times of a capture, 16 bytes a line.
#[derive(Debug, Default)]
pub struct Times {
    by_line: Vec<Option<i64>>,
}

impl Times {
    /// Notes a call of a line, from 1. Of a line with several calls the first one counts.
    ///
    /// * `at_ms`: event time.
    pub fn note(&mut self, line: i64, at_ms: i64) {
        let Some(at) = usize::try_from(line).ok().and_then(|n| n.checked_sub(1)) else {
            return;
        };
        if self.by_line.len() <= at {
            self.by_line.resize(at + 1, None);
        }
        let noted = &mut self.by_line[at];
        *noted = Some(noted.map_or(at_ms, |earlier| earlier.min(at_ms)));
    }

    /// Event time of a line, from 1; none where it was no call.
    pub fn line(&self, number: i64) -> Option<i64> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.by_line.get(at).copied().flatten()
    }

    /// From the first call to the last, in milliseconds.
    pub fn span_ms(&self) -> i64 {
        let noted = || self.by_line.iter().flatten().copied();
        match (noted().min(), noted().max()) {
            (Some(first), Some(last)) => last - first,
            _ => 0,
        }
    }
}
