//! Reads what names endpoints: a file of learnt templates, and OpenAPI documents; and the register of agents.
//!
//! Comes in: paths. Goes out: one [`TemplateSet`], the same for the same files in whatever order. What [`models`] must
//! not know is here: files, YAML.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use models::agent::register::AgentRegister;
use models::inventory::Documents;
use models::template::set::{ANY_HOST, TEMPLATES_MAX};
use models::template::{TemplateSet, openapi, set};
use serde_json::Value;

/// Bytes of one file; the longest documents in public have 10 MB. A longer one is not read.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files of documents; beyond it nothing is read.
const FILES_MAX: usize = 1000;
/// Nodes of one YAML document: a file of the greatest length, most of it text.
const NODES_MAX: usize = 2_000_000;
/// Bytes the aliases of one YAML document may come to, each as long as the document. Documents have `$ref` to repeat
/// things with and hardly use aliases.
const ALIASED_BYTES_MAX: usize = 512 << 20;
/// Nodes the aliases of one YAML document may come to.
const ALIASED_NODES_MAX: usize = 100_000;
/// The host of calls whose log names none.
const NO_HOST: &str = "-";

/// A file that names no endpoints.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TemplatesError {
    path: PathBuf,
    reason: String,
}

impl TemplatesError {
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

/// The set of a file of templates and of documents, or of folders of such; empty without either.
///
/// # Errors
/// A file can't be read, is none of these, or there is more than a set holds; with the file and the place in it.
pub fn load(
    file: Option<&Path>,
    documents: &[PathBuf],
) -> Result<Arc<TemplateSet>, TemplatesError> {
    let text = file.map(read).transpose()?.unwrap_or_default();
    let learnt = match file {
        Some(path) => parse(path, &text)?,
        None => Vec::new(),
    };
    let files = files_of(documents)?;
    let mut specified = Vec::new();
    for path in &files {
        for (host, template) in routes(path)? {
            // Many logs name no host; whatever the document says, the call was one of its server's.
            if host != ANY_HOST {
                specified.push((NO_HOST.to_owned(), template.clone()));
            }
            specified.push((host, template));
        }
        if TEMPLATES_MAX < specified.len() {
            let reason = format!("with it there are more than the {TEMPLATES_MAX} routes of a set");
            return Err(TemplatesError::new(path, reason));
        }
    }
    let specified = specified
        .iter()
        .map(|(host, template)| (host.as_str(), template.as_str()));
    Ok(Arc::new(TemplateSet::new(learnt, specified)))
}

/// The operations of these documents, or of folders of such.
///
/// # Errors
/// A file can't be read, or is no document.
pub fn documents(paths: &[PathBuf]) -> Result<Documents, TemplatesError> {
    let mut documents = Documents::default();
    for path in files_of(paths)? {
        let name = path.display().to_string();
        let added = documents.add(&name, &document(&path)?);
        added.map_err(|error| TemplatesError::new(&path, error.to_string()))?;
    }
    Ok(documents)
}

/// The files of these documents, or of folders of such.
pub(crate) fn files_of(documents: &[PathBuf]) -> Result<Vec<PathBuf>, TemplatesError> {
    let mut files = Vec::new();
    for path in documents {
        let n_before = files.len();
        list(path, &mut files)?;
        if files.len() == n_before {
            let reason = "holds no .json, .yaml or .yml file: name an OpenAPI document";
            return Err(TemplatesError::new(path, reason));
        }
    }
    Ok(files)
}

/// The hosts and templates of a file's text.
///
/// # Errors
/// The text is no file of templates.
pub fn parse<'t>(path: &Path, text: &'t str) -> Result<Vec<(&'t str, &'t str)>, TemplatesError> {
    set::read(text).map_err(|error| TemplatesError::new(path, error.to_string()))
}

/// The text of a file, of at most 16 MiB.
///
/// # Errors
/// It can't be read, is longer, or no UTF-8.
pub fn read(path: &Path) -> Result<String, TemplatesError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| TemplatesError::new(path, format!("cannot be read: {error}")))?;
    if FILE_BYTES_MAX < bytes.len() as u64 {
        let reason = format!("is longer than {FILE_BYTES_MAX} bytes");
        return Err(TemplatesError::new(path, reason));
    }
    String::from_utf8(bytes).map_err(|_| TemplatesError::new(path, "is not UTF-8"))
}

/// Who answers for which agents and servers, of a file; nobody without one.
///
/// # Errors
/// The file can't be read, or is no register, with the line.
pub fn register(file: Option<&Path>) -> Result<Arc<AgentRegister>, TemplatesError> {
    let Some(path) = file else {
        return Ok(Arc::default());
    };
    let register = toml::from_str(&read(path)?);
    let register =
        register.map_err(|error| TemplatesError::new(path, error.to_string().trim_end()))?;
    Ok(Arc::new(register))
}

/// The documents of a path, in the order of their names.
fn list(path: &Path, into: &mut Vec<PathBuf>) -> Result<(), TemplatesError> {
    let failed =
        |error: std::io::Error| TemplatesError::new(path, format!("cannot be read: {error}"));
    if !path.is_dir() {
        if into.len() == FILES_MAX {
            let reason = format!("with it there are more than {FILES_MAX} files");
            return Err(TemplatesError::new(path, reason));
        }
        into.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(failed)?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(failed)?;
        let is_document = path
            .extension()
            .is_some_and(|end| ["json", "yaml", "yml"].iter().any(|known| end == *known));
        // Links to folders are not followed: they can lead in circles.
        if kind.is_dir() || (is_document && !path.is_dir()) {
            list(&path, into)?;
        }
    }
    Ok(())
}

fn routes(path: &Path) -> Result<Vec<(String, String)>, TemplatesError> {
    openapi::routes(&document(path)?).map_err(|error| TemplatesError::new(path, error.to_string()))
}

fn document(path: &Path) -> Result<Value, TemplatesError> {
    let text = read(path)?;
    let is_json = path.extension().is_some_and(|end| end == "json");
    let document = match is_json {
        true => serde_json::from_str(&text).map_err(|error| format!("not JSON: {error}")),
        false => yaml(&text),
    };
    document.map_err(|reason| TemplatesError::new(path, reason))
}

fn yaml(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: (ALIASED_BYTES_MAX / text.len().max(1)).min(ALIASED_NODES_MAX),
        },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let told = error.to_string();
        let reason = told.lines().next().unwrap_or_default();
        match error.location() {
            Some(at) => format!(
                "line {}, column {}: not YAML: {reason}",
                at.line(),
                at.column()
            ),
            None => format!("not YAML: {reason}"),
        }
    })
}
