//! How large an endpoint's answers usually are.
//!
//! One hdrhistogram an endpoint (one significant digit, 1 B to 1 GiB: at most 4 KB), never one an
//! identity. Quantile marks are read from it every 64th answer, so a row costs a record and five
//! comparisons. Beyond `endpoints_max` the endpoints least recently used are forgotten.

use hdrhistogram::Histogram;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::generations::Generations;
use crate::walk::Walk;

const SIZE_MAX: u64 = 1 << 30;
/// Counters of a histogram of one significant digit up to [`SIZE_MAX`]: a test holds it.
const HISTOGRAM_BYTES: usize = 4096;
const MARKS: [f64; 6] = [0.5, 0.75, 0.9, 0.99, 0.999, 1.0];
const MARK_EVERY: u64 = 64;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Sizes {
    #[serde(serialize_with = "recorded", deserialize_with = "record_again")]
    histogram: Option<Histogram<u32>>,
    marks: [u64; MARKS.len()],
}

fn empty() -> Option<Histogram<u32>> {
    Histogram::new_with_bounds(1, SIZE_MAX, 1).ok()
}

/// The buckets that have something in them: the lowest size of each, and how many.
fn recorded<S: Serializer>(histogram: &Option<Histogram<u32>>, to: S) -> Result<S::Ok, S::Error> {
    let buckets = histogram.as_ref().map(|histogram| {
        let buckets = histogram.iter_recorded();
        buckets
            .map(|b| {
                (
                    histogram.lowest_equivalent(b.value_iterated_to()),
                    b.count_at_value(),
                )
            })
            .collect::<Vec<(u64, u32)>>()
    });
    buckets.serialize(to)
}

fn record_again<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Histogram<u32>>, D::Error> {
    let Some(buckets) = Option::<Vec<(u64, u32)>>::deserialize(from)? else {
        return Ok(None);
    };
    let mut histogram = empty().ok_or_else(|| D::Error::custom("no histogram"))?;
    for (bytes, n) in buckets {
        histogram.saturating_record_n(bytes, n);
    }
    Ok(Some(histogram))
}

/// Sizes of the answers of the endpoints of one lane.
#[derive(Debug)]
pub struct EndpointSizes {
    endpoints: Generations<u64, Sizes>,
}

impl EndpointSizes {
    /// Bytes an endpoint takes at most, with its histogram.
    pub const ENDPOINT_BYTES: usize = Generations::<u64, Sizes>::ENTRY_BYTES + HISTOGRAM_BYTES;

    /// Keeps at most `endpoints_max` endpoints.
    pub fn new(endpoints_max: usize) -> Self {
        Self {
            endpoints: Generations::new(endpoints_max),
        }
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("sizes.endpoints", &mut self.endpoints);
    }

    /// Endpoints held.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// True when no answer was recorded.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// Bytes held, each histogram taken for as large as it can be.
    pub fn state_bytes(&self) -> usize {
        self.endpoints.table_bytes() + self.endpoints.len() * HISTOGRAM_BYTES
    }

    /// Records one answer's size and says above which share of the earlier ones it lies, in [0, 1];
    /// none before 64 answers.
    pub fn record(&mut self, endpoint: u64, bytes: u64) -> Option<f64> {
        let sizes = self.endpoints.entry(endpoint);
        let bytes = bytes.clamp(1, SIZE_MAX);
        let histogram = match &mut sizes.histogram {
            Some(histogram) => histogram,
            none => none.insert(empty()?),
        };
        let above = MARKS
            .iter()
            .zip(sizes.marks)
            .rev()
            .find(|(_, mark)| bytes > *mark);
        let quantile =
            (histogram.len() >= MARK_EVERY).then(|| above.map_or(0.0, |(share, _)| *share));
        histogram.saturating_record(bytes);
        if histogram.len() % MARK_EVERY == 0 {
            sizes.marks = MARKS.map(|share| histogram.value_at_quantile(share));
        }
        quantile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_a_hundred_times_the_usual_lies_above_all() {
        let mut sizes = EndpointSizes::new(10);
        for i in 0..640 {
            sizes.record(1, 900 + i % 200);
        }
        assert_eq!(sizes.record(1, 100_000), Some(1.0));
        assert_eq!(sizes.record(1, 10), Some(0.0));
        assert_eq!(sizes.record(2, 10), None, "an endpoint not seen before");
        let counters = empty().unwrap().distinct_values() * size_of::<u32>();
        assert!(counters <= HISTOGRAM_BYTES, "{counters}");
    }
}
