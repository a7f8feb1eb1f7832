//! Records of a body that somebody posted: lines, or JSON however it is laid out (Kong's http-log, Cloudflare Logpush, Vector, Fluent Bit).

use super::envelope;
use crate::tail::record_of;

/// Records of one body: a short line costs more than its bytes.
pub const RECORDS_MAX: usize = 100_000;

/// Cuts a body into records: lines; of JSON the elements of an array, or the one object that it is, or lines.
///
/// # Errors
/// It is an array that does not end where it should, or there are more than [`RECORDS_MAX`].
pub fn records(body: &[u8], is_json: bool) -> Result<Vec<Vec<u8>>, String> {
    let text = std::str::from_utf8(body).map(str::trim_ascii);
    if let (true, Ok(text)) = (is_json, text) {
        if text.starts_with('[') {
            let elements = envelope::elements(text).map(|element| match element {
                Ok(element) => Ok(element.as_bytes()),
                Err(fault) => Err(fault.detail.into_owned()),
            });
            return gather(elements);
        }
        if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
            return gather(std::iter::once(Ok(text.as_bytes())));
        }
    }
    gather(body.split(|byte| *byte == b'\n').map(Ok))
}

fn gather<'a>(
    lines: impl Iterator<Item = Result<&'a [u8], String>>,
) -> Result<Vec<Vec<u8>>, String> {
    let mut records = Vec::new();
    for line in lines {
        if let Some(record) = record_of(line?) {
            records.push(record.into_owned());
        }
        if RECORDS_MAX < records.len() {
            return Err(format!("more than {RECORDS_MAX} records in one body"));
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_cut_as_it_is_laid_out() {
        let rows: [(&str, bool, &[&str]); 7] = [
            ("a\r\n\nb\n", false, &["a", "b"]),
            ("[1,2]", false, &["[1,2]"]),
            (
                "[ {\"a\":1}, {\"b\":\n2} ]\n",
                true,
                &["{\"a\":1}", "{\"b\":\n2}"],
            ),
            ("{\n\"a\":1\n}\n", true, &["{\n\"a\":1\n}"]),
            ("{\"a\":1}\n{\"a\":2}", true, &["{\"a\":1}", "{\"a\":2}"]),
            ("[]", true, &[]),
            ("", true, &[]),
        ];
        for (body, is_json, want) in rows {
            let got = records(body.as_bytes(), is_json).unwrap();
            let got: Vec<_> = got.iter().map(|r| String::from_utf8_lossy(r)).collect();
            assert_eq!(got, want, "{body:?}");
        }
        assert!(records(b"[{\"a\":1}", true).is_err());
        assert!(records(b"[] x", true).is_err());
        assert!(records(&b"x\n".repeat(RECORDS_MAX + 1), false).is_err());
        let long = vec![b'x'; 2 << 20];
        assert_eq!(records(&long, false).unwrap()[0].len(), (1 << 20) + 1);
    }
}
